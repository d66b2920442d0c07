/**
 * The system calls of the load generator, straight from libc: sockets and epoll on Linux.
 * Not for the server, which runs on Deno's own sockets with narrow permissions.
 *
 * Why: a read or write through `Deno.Conn` costs 5–7 µs and a promise, as much as the server under
 * test spends on it, so the generator would measure itself. A call through FFI costs 0.15 µs more
 * than the system call, which puts a TypeScript generator on a level with a compiled one.
 * Invariant: every call here is non-blocking except `Poller.wait`, which has a time limit.
 */

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  // Lengths are size_t and results ssize_t, but never above the length of the buffer passed; a
  // 64-bit parameter would have to be a bigint. x86-64 and arm64 clear the upper half of a register
  // when the lower is written.
  recv: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_pwait2: {
    parameters: ["i32", "buffer", "i32", "buffer", "pointer"],
    result: "i32",
    optional: true, // glibc 2.35
  },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

const AF_INET = 2;
const SOCK_STREAM_NONBLOCK = 1 | 0o4000;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const EINTR = 4;
const EAGAIN = 11;
const EINPROGRESS = 115;

function open(): Deno.DynamicLibrary<typeof SYMBOLS> {
  if (Deno.build.os !== "linux") {
    throw new Error("the load generator needs Linux: it uses epoll");
  }
  // glibc, then musl (Alpine).
  const names = ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`];
  const causes: unknown[] = [];
  for (const name of names) {
    try {
      return Deno.dlopen(name, SYMBOLS);
    } catch (cause) {
      causes.push(cause);
    }
  }
  throw new AggregateError(causes, `none of ${names.join(", ")} could be opened`);
}

const c = open().symbols;

function errno(): number {
  const at = c.__errno_location();
  return at === null ? 0 : new Deno.UnsafePointerView(at).getInt32();
}

/** {@linkcode receive}: nothing to read now. */
export const WOULD_BLOCK = -1;
/** {@linkcode receive}, {@linkcode send}: the peer has closed or reset the connection. */
export const CLOSED = -2;

/**
 * Begins a TCP connection; `Poller` reports it writable when it stands or has failed.
 *
 * @param host An IPv4 address in digits.
 * @returns The file descriptor.
 * @throws When the address is malformed or the system refuses at once.
 */
export function dial(host: string, port: number): number {
  const octets = host.split(".").map(Number);
  if (octets.length !== 4 || octets.some((o) => !(o >= 0 && o <= 255))) {
    throw new Error(`"${host}" is no IPv4 address`);
  }
  const fd = c.socket(AF_INET, SOCK_STREAM_NONBLOCK, 0);
  if (fd < 0) throw new Error(`socket: errno ${errno()}; is the limit of open files too low?`);
  const address = new Uint8Array(16);
  address.set([AF_INET, 0, port >> 8, port & 255, ...octets]); // sa_family is in host order
  c.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, new Uint8Array(new Int32Array([1]).buffer), 4);
  if (c.connect(fd, address, 16) < 0) {
    const code = errno();
    if (code !== EINPROGRESS) {
      c.close(fd);
      throw new Error(`connect to ${host}:${port}: errno ${code}`);
    }
  }
  return fd;
}

/** 0 when the connection stands, else the errno it failed with. */
export function connectError(fd: number): number {
  const value = new Uint8Array(4);
  const length = new Uint8Array(new Uint32Array([4]).buffer);
  c.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length);
  return new DataView(value.buffer).getInt32(0, true);
}

/** Bytes read into `into`, {@linkcode WOULD_BLOCK}, or {@linkcode CLOSED}. */
export function receive(fd: number, into: Uint8Array<ArrayBuffer>): number {
  const n = c.recv(fd, into, into.length, MSG_DONTWAIT);
  if (n > 0) return n;
  if (n === 0) return CLOSED;
  const code = errno();
  return code === EAGAIN || code === EINTR ? WOULD_BLOCK : CLOSED;
}

/** Bytes of the first `length` of `data` that the system took (maybe 0), or {@linkcode CLOSED}. */
export function send(fd: number, data: Uint8Array<ArrayBuffer>, length: number): number {
  const n = c.send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) return n;
  const code = errno();
  return code === EAGAIN || code === EINTR ? 0 : CLOSED;
}

/** Closes a descriptor. */
export function close(fd: number): void {
  c.close(fd);
}

/** The x86-64 ABI packs struct epoll_event to 12 bytes; elsewhere it is 16, data at offset 8. */
const EVENT_WORDS = Deno.build.arch === "x86_64" ? 3 : 4;
const DATA_WORD = Deno.build.arch === "x86_64" ? 1 : 2;
const MAX_EVENTS = 1024;

/** Waits for many sockets at once. Each has a `slot`, a number the caller chooses. */
export class Poller {
  readonly #fd = c.epoll_create1(0);
  readonly #events = new Uint32Array(MAX_EVENTS * EVENT_WORDS);
  readonly #eventBytes = new Uint8Array(this.#events.buffer);
  readonly #change = new Uint32Array(EVENT_WORDS);
  readonly #changeBytes = new Uint8Array(this.#change.buffer);
  readonly #timeout = new BigInt64Array(2); // struct timespec
  readonly #timeoutBytes = new Uint8Array(this.#timeout.buffer);

  /** Watches for input and, when `output`, for room to write (or the end of a connect). */
  add(fd: number, slot: number, output: boolean): void {
    this.#control(EPOLL_CTL_ADD, fd, slot, output);
  }

  /** Changes whether output is watched. */
  change(fd: number, slot: number, output: boolean): void {
    this.#control(EPOLL_CTL_MOD, fd, slot, output);
  }

  /** Stops watching. */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0, false);
  }

  #control(op: number, fd: number, slot: number, output: boolean): void {
    this.#change[0] = output ? EPOLLIN | EPOLLOUT : EPOLLIN;
    this.#change[DATA_WORD] = slot;
    if (c.epoll_ctl(this.#fd, op, fd, this.#changeBytes) < 0) {
      throw new Error(`epoll_ctl: errno ${errno()}`);
    }
  }

  /** How many sockets are ready after at most `timeoutMs`, with microsecond precision. */
  wait(timeoutMs: number): number {
    const pwait2 = c.epoll_pwait2;
    let n: number;
    if (pwait2 === null) {
      n = c.epoll_wait(this.#fd, this.#eventBytes, MAX_EVENTS, Math.ceil(timeoutMs));
    } else {
      const seconds = Math.floor(timeoutMs / 1000);
      this.#timeout[0] = BigInt(seconds);
      this.#timeout[1] = BigInt(Math.floor((timeoutMs - seconds * 1000) * 1e6));
      n = pwait2(this.#fd, this.#eventBytes, MAX_EVENTS, this.#timeoutBytes, null);
    }
    if (n < 0 && errno() !== EINTR) throw new Error(`epoll_wait: errno ${errno()}`);
    return Math.max(0, n);
  }

  /** Slot of the `i`th ready socket. */
  slot(i: number): number {
    return this.#events[i * EVENT_WORDS + DATA_WORD] ?? 0;
  }

  /** Whether the `i`th ready socket is writable. */
  writable(i: number): boolean {
    return ((this.#events[i * EVENT_WORDS] ?? 0) & EPOLLOUT) !== 0;
  }

  /** Whether the `i`th ready socket has input, an error, or has been closed. */
  readable(i: number): boolean {
    return ((this.#events[i * EVENT_WORDS] ?? 0) & ~EPOLLOUT) !== 0;
  }
}
