/** CPU time and memory of processes, read from /proc. Linux only. */

/** Clock ticks per second in /proc; 100 on every Linux that Deno runs on. */
const TICKS_PER_S = 100;

/** CPU seconds, user and system, of all threads of the processes, ended threads included. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    // The name, in brackets, may itself hold spaces and brackets; utime and stime are fields 14, 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_S;
}

/** CPU seconds that all processors have been busy since the start, time stolen by the host included. */
export function machineBusySeconds(): number {
  const line = Deno.readTextFileSync("/proc/stat").split("\n", 1)[0] ?? "";
  // cpu user nice system idle iowait irq softirq steal guest guest_nice; guest is in user already.
  const [, user, nice, system, , , irq, softirq, steal] = line.split(/\s+/).map(Number);
  const ticks = (user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0) +
    (steal ?? 0);
  return ticks / TICKS_PER_S;
}

/** CPU seconds of each living thread of a process, with the name the system knows it by. */
export function threadCpuSeconds(pid: number): Map<string, number> {
  const threads = new Map<string, number>();
  for (const { name: tid } of Deno.readDirSync(`/proc/${pid}/task`)) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/task/${tid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    threads.set(`${name} ${tid}`, (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S);
  }
  return threads;
}

/** Resident memory of the processes together, in KiB. */
export function residentKib(pids: readonly number[]): number {
  let kib = 0;
  for (const pid of pids) {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    kib += Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return kib;
}
