import { describe, expect, it } from 'vitest';
import { core, groups, properties, typeText, type Document } from './openapi';

const document: Document = {
  info: { title: 'T', version: '1' },
  tags: [{ name: 'devices' }],
  paths: { '/x/{id}': { get: { summary: 's', parameters: [{ name: 'id', in: 'path' }] } }, '/devices': { get: { tags: ['devices'] }, post: { tags: ['devices'] } } },
  components: { schemas: { Device: { type: 'object', required: ['mac'], properties: { mac: { type: 'string' }, ip: { type: ['string', 'null'] } } }, List: { type: 'array', items: { $ref: '#/components/schemas/Device' } } } },
};

describe('openapi', () => {
  it('groups by tag, else by path', () => {
    expect(groups(document).map((group) => [group.name, group.entries.map((entry) => entry.method)])).toEqual([['devices', ['GET', 'POST']], ['x', ['GET']]]);
  });

  it('writes types in a phrase', () => {
    expect(typeText({ type: 'array', items: { $ref: '#/components/schemas/Device' } })).toBe('Device[]');
    expect(typeText({ oneOf: [{ type: 'null' }, { type: 'string', format: 'date-time' }] })).toBe('null or string (date-time)');
    expect(typeText({ enum: ['a', 'b'] })).toBe('"a" | "b"');
  });

  it('finds the object behind references, arrays and nullable unions', () => {
    const schema = { oneOf: [{ type: 'null' }, { $ref: '#/components/schemas/List' }] };
    expect(properties(document, core(document, schema)).map((property) => [property.name, property.required])).toEqual([['mac', true], ['ip', false]]);
  });
});
