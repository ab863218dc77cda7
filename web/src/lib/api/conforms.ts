// Compile-time proof that what the server's openapi.json promises is what the pages take it for. The
// generated half is not committed: `npm run check` makes it anew.
import type { components } from './openapi.generated';
import type * as Access from './access';
import type * as Files from './files';
import type * as Ours from './types';

type Server = components['schemas'];

/** Texts and numbers are compared as such: the document does not name every value of an enumeration. What may be
 *  null it calls optional; it is always sent. */
type Loose<T> = T extends string ? string : T extends number ? number : T extends readonly (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]-?: Loose<Exclude<T[K], undefined>> } : T;
type Is<Promised extends Loose<Taken>, Taken> = [Promised, Taken];

export type Conforms = [
  Is<Loose<Server['AuthState']>, Ours.AuthState>,
  Is<Loose<Server['Login']>, Ours.Login>,
  Is<Loose<Server['User']>, Ours.Account>,
  Is<Loose<Server['Role']>, Ours.Role>,
  Is<Loose<Server['Token']>, Ours.Token>,
  Is<Loose<Server['AuditEntry']>, Ours.AuditEntry>,
  Is<Loose<Server['DeviceWire']>, Ours.Device>,
  Is<Loose<Server['CountsWire']>, Ours.DeviceCounts>,
  Is<Loose<Server['EventWire']>, Ours.PresenceEvent>,
  Is<Loose<Server['DeviceTimeline']>, Ours.DeviceTimeline>,
  Is<Loose<Server['Timeline']>, Ours.PresenceTimeline>,
  Is<Loose<Server['Point']>, Ours.HistoryPoint>,
  Is<Loose<Server['SourceList']>, Ours.Sources>,
  Is<Loose<Server['SessionWire']>, Ours.PresenceSession>,
  Is<Loose<Server['CalendarWire']>, Ours.CalendarSession>,
  Is<Loose<Server['AccessSession']>, Access.AccessSession>,
  Is<Loose<Server['Connection']>, Loose<Access.Connection>>,
  Is<Loose<Server['ConnectionTest']>, Access.ConnectionTest>,
  Is<Loose<Server['LiveSession']>, Access.LiveSession>,
  Is<Loose<Server['Command']>, Access.Command>,
  Is<Loose<Server['PublicKey']>, Access.PublicKey>,
  Is<Loose<Server['Verification']>, Access.Verification>,
  Is<Loose<Server['Storage']>, Access.Storage>,
  Is<Loose<Server['FileSession']>, Files.FileSession>,
  Is<Loose<Server['FileEvent']>, Files.FileEvent>,
  // And the other way: what is sent is what the server reads.
  Is<Loose<Required<Ours.DeviceChange>>, Server['DeviceSet']>,
];
