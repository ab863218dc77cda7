// Reads as much of OpenAPI 3.1 as Sojourn's own document uses.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  example?: unknown;
  examples?: unknown[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  additionalProperties?: boolean | Schema;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
}

export interface Parameter {
  name: string;
  in: 'query' | 'path' | 'header' | 'cookie';
  required?: boolean;
  description?: string;
  schema?: Schema;
}

type Content = Record<string, { schema?: Schema; example?: unknown }>;

export interface Operation {
  operationId?: string;
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { description?: string; required?: boolean; content?: Content };
  responses?: Record<string, { description?: string; content?: Content; $ref?: string }>;
  security?: Record<string, string[]>[];
  deprecated?: boolean;
}

export interface Document {
  info: { title: string; version: string; description?: string };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Record<string, Operation> & { parameters?: Parameter[] }>;
  components?: { schemas?: Record<string, Schema>; responses?: Record<string, { description?: string; content?: Content }> };
}

export interface Entry {
  id: string;
  method: string;
  path: string;
  operation: Operation;
}

export interface Group {
  name: string;
  description: string;
  entries: Entry[];
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'head', 'options'];

/** Operations by their first tag, else by the first part of their path, in the order of the document. */
export function groups(document: Document): Group[] {
  const out = new Map<string, Group>();
  for (const tag of document.tags ?? []) out.set(tag.name, { name: tag.name, description: tag.description ?? '', entries: [] });
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const name = operation.tags?.[0] ?? path.split('/').find((part) => part && part !== 'api' && part !== 'v1') ?? 'other';
      const group = out.get(name) ?? { name, description: '', entries: [] };
      out.set(name, group);
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
      group.entries.push({ id: `${method}${path.replace(/[^a-z0-9]+/gi, '-')}`, method: method.toUpperCase(), path, operation: { ...operation, parameters } });
    }
  }
  return [...out.values()].filter((group) => group.entries.length);
}

export function resolve(document: Document, schema: Schema | undefined): Schema | undefined {
  let found = schema;
  for (let depth = 0; found?.$ref && depth < 10; depth++) found = document.components?.schemas?.[refName(found.$ref)];
  return found;
}

export function refName(ref: string): string {
  return ref.split('/').at(-1) ?? ref;
}

/** The type in one short phrase: `string (date-time)`, `Device[]`, `integer or null`. */
export function typeText(schema: Schema | undefined): string {
  if (!schema) return 'any';
  if (schema.$ref) return refName(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const union = schema.oneOf ?? schema.anyOf;
  if (union) return [...new Set(union.map(typeText))].join(' or ');
  if (schema.allOf) return schema.allOf.map(typeText).join(' & ');
  const types = Array.isArray(schema.type) ? schema.type : [schema.type ?? (schema.properties ? 'object' : 'any')];
  return types.map((type) => (type === 'array' ? `${typeText(schema.items)}[]` : schema.format ? `${type} (${schema.format})` : type)).join(' or ');
}

/** The properties of an object, those of its parts included. */
export function properties(document: Document, schema: Schema | undefined): { name: string; schema: Schema; required: boolean }[] {
  const found = resolve(document, schema);
  if (!found) return [];
  const own = Object.entries(found.properties ?? {}).map(([name, property]) => ({ name, schema: property, required: found.required?.includes(name) ?? false }));
  return [...(found.allOf ?? []).flatMap((part) => properties(document, part)), ...own];
}

/** The object behind arrays and nullable unions, if there is one. */
export function core(document: Document, schema: Schema | undefined): Schema | undefined {
  const found = resolve(document, schema);
  if (!found) return undefined;
  if (found.items) return core(document, found.items);
  const union = found.oneOf ?? found.anyOf;
  if (union) {
    const rest = union.filter((one) => one.type !== 'null');
    return rest.length === 1 ? core(document, rest[0]) : found;
  }
  return found;
}
