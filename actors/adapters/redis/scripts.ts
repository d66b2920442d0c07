/**
 * The Lua that Redis runs for the bus: what must be atomic across nodes. No I/O here.
 *
 * Keys, under the prefix of names.ts:
 * - `node:<node>`  a node's lease, with an expiry. A node without one is dead.
 * - `online`       hash, user ⇒ `<node>:<conn>`. An entry whose node has no lease is void.
 *
 * Invariant: an entry is written only in the same script that sees, or takes, its node's lease,
 * and deleted only when it is still the entry meant, or void. A clean-up can thus never remove a
 * newer login, and a node that was stopped past its lease can never write as if it had not been.
 *
 * One Redis only, not Redis Cluster: the scripts read lease keys that they build from entries.
 * Sent with EVAL: EVALSHA measured no cheaper (5 µs of Redis either way), and EVAL needs no answer
 * to NOSCRIPT, whose second try could overtake a later release.
 */

/** Takes the lease when it is missing; `lost` then tells the node to announce everything again. */
const HOLD_LEASE = `
local lost = 0
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[1])
  lost = 1
end
local function is_void(location)
  local node = string.match(location, '^(.*):%d+$')
  return not node or redis.call('EXISTS', ARGV[2] .. node) == 0
end
`;

/**
 * A node's sign of life: renews its lease, publishes to everyone and then to itself.
 *
 * The lease may be refused (disk full, memory full) while publishing works, so that is an answer
 * and no error: envelopes still get through then.
 *
 * KEYS own lease, leases of silent nodes… · ARGV lease ms, everyone's channel, own channel, text
 * → had a lease (0/1), why it could not be renewed ("" if it was), lease exists (0/1)…
 */
export const BEAT = `
local had = redis.call('EXISTS', KEYS[1])
local renewed = redis.pcall('SET', KEYS[1], '1', 'PX', ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[4])
redis.call('PUBLISH', ARGV[3], ARGV[4])
local answer = { had, renewed.err or '' }
for i = 2, #KEYS do answer[i + 1] = redis.call('EXISTS', KEYS[i]) end
return answer
`;

/**
 * Gives the lease up, which makes all the node's entries void, and says so.
 *
 * KEYS own lease · ARGV everyone's channel, text
 */
export const LEAVE = `
redis.call('DEL', KEYS[1])
return redis.call('PUBLISH', ARGV[1], ARGV[2])
`;

/**
 * Takes one entry, unless a live node holds it and this is no takeover. A node replaces its own
 * entries always: it knows its own sessions better than Redis does.
 *
 * KEYS online, own lease · ARGV lease ms, lease prefix, own node, user, conn, takeover (0/1)
 * → granted (0/1), previous live location or "", lease was lost (0/1)
 */
export const CLAIM = `${HOLD_LEASE}
local mine = ARGV[3] .. ':' .. ARGV[5]
local held = redis.call('HGET', KEYS[1], ARGV[4])
local previous = ''
if held and held ~= mine and not is_void(held) then
  local own = string.match(held, '^(.*):') == ARGV[3]
  if not own and ARGV[6] == '0' then return { 0, '', lost } end
  previous = held
end
redis.call('HSET', KEYS[1], ARGV[4], mine)
return { 1, previous, lost }
`;

/**
 * Writes entries again; those of other live nodes stay.
 *
 * KEYS online, own lease · ARGV lease ms, lease prefix, own node, (user, conn)… → lease was lost
 */
export const ANNOUNCE = `${HOLD_LEASE}
for i = 4, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if not held or string.match(held, '^(.*):') == ARGV[3] or is_void(held) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[3] .. ':' .. ARGV[i + 1])
  end
end
return lost
`;

/** Compare and delete. KEYS online · ARGV (user, location)… → entries deleted */
export const RELEASE = `
local deleted = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    deleted = deleted + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return deleted
`;

/**
 * Deletes the void entries of one HSCAN batch; atomic, so none can have become newer meanwhile.
 *
 * KEYS online · ARGV cursor, batch size, lease prefix → next cursor ("0" at the end), deleted
 */
export const SWEEP = `
local batch = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local alive = {}
local deleted = 0
for i = 1, #batch[2], 2 do
  local node = string.match(batch[2][i + 1], '^(.*):%d+$') or ''
  if alive[node] == nil then alive[node] = redis.call('EXISTS', ARGV[3] .. node) end
  if alive[node] == 0 then deleted = deleted + redis.call('HDEL', KEYS[1], batch[2][i]) end
end
return { batch[1], deleted }
`;
