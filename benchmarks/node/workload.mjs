// What every subject in Node does around its bot: the same as benchmarks/workload.py does in Python.

import { createInterface } from "node:readline";

const job = JSON.parse(process.argv[2]);
export default job;

export const INITIAL = job.work === "count" ? { n: 0 } : { asking: false, nickname: null };

export const YEAR = 365 * 24 * 60; // minutes

/** The handler of every subject: `state` reads, `set` merges, `say` replies. */
export async function answer(state, set, say, text) {
  if (job.work === "count") {
    const n = state.n;
    await new Promise(setImmediate); // others have their turn, as while any call is waited for
    set({ n: n + 1 });
  } else if (state.asking) {
    set({ nickname: text, asking: false });
    await say(`Hello ${text}`);
  } else {
    set({ asking: true });
    await say("Hi, what's your nickname?");
  }
}

/** Event number `n` as Telegram sends it. */
export function update(n, person) {
  const id = FIRST + person;
  return {
    update_id: n,
    message: {
      message_id: n,
      date: 1700000000,
      chat: { id, type: "private", first_name: "Tim" },
      from: { id, is_bot: false, first_name: "Tim" },
      text: `name${n}`,
    },
  };
}

export const FIRST = 100000; // the id of the first person

/**
 * Measure a subject: `handle(update)` settles one event, `read(id)` is a person's state as it
 * rests, `replies()` is how many times it spoke, `close()` ends it.
 */
export async function measure(subject) {
  const result = job.work === "count" ? await count(subject) : await nicknames(subject);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  await subject.close();
}

async function nicknames(subject) {
  let done = 0;
  let rate = 0;
  const run = async (events) => {
    const last = done + events;
    const started = process.hrtime.bigint();
    const worker = async () => {
      while (done < last) {
        const n = done++;
        await subject.handle(update(n, n % job.people));
      }
    };
    await Promise.all(Array.from({ length: job.in_flight }, worker));
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    rate = events / seconds;
    return seconds;
  };
  await go();
  for (let left = job.warm_up; left > 0; ) left -= await run(job.people);
  const events = Math.max(1, Math.round((rate * job.seconds) / job.people)) * job.people;
  const cpu = process.cpuUsage();
  const seconds = await run(events);
  const { user, system } = process.cpuUsage(cpu);
  let wrong = subject.replies() === done ? 0 : 1;
  const times = done / job.people;
  for (let person = 0; person < job.people; person++) {
    const state = (await subject.read(FIRST + person)) ?? INITIAL;
    const answered = times % 2 === 0 ? times - 1 : times - 2;
    const nickname = answered < 0 ? null : `name${answered * job.people + person}`;
    if (state.asking !== (times % 2 === 1) || state.nickname !== nickname) wrong++;
  }
  return { events, seconds, cpu: (user + system) / 1e6, wrong };
}

async function count(subject) {
  await go();
  const cpu = process.cpuUsage();
  const started = process.hrtime.bigint();
  const all = Array.from({ length: job.events }, (_, n) => subject.handle(update(job.first + n, 0)));
  await Promise.all(all);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  const { user, system } = process.cpuUsage(cpu);
  const value = ((await subject.read(FIRST)) ?? INITIAL).n;
  return { events: job.events, seconds, cpu: (user + system) / 1e6, value };
}

async function go() {
  const lines = createInterface({ input: process.stdin });
  process.stdout.write("ready\n");
  const alone = () => process.exit(1); // there is nobody any more to measure for
  lines.once("close", alone);
  await new Promise((resolve) => lines.once("line", resolve));
  lines.off("close", alone);
  lines.close();
  process.stdin.destroy();
}
