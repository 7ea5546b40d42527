// grammY with its session plugin. Replies end in an API transformer, before the network.

import { FileAdapter } from "@grammyjs/storage-file";
import { RedisAdapter } from "@grammyjs/storage-redis";
import { Bot, MemorySessionStorage, session } from "grammy";
import { Redis } from "ioredis";

import job, { answer, INITIAL, measure } from "./workload.mjs";

let replies = 0;
let redis;

function storage() {
  if (job.store === "redis") {
    redis = new Redis(job.url, { enableAutoPipelining: job.options.auto_pipelining === true });
    return new RedisAdapter({ instance: redis });
  }
  if (job.store === "file") return new FileAdapter({ dirName: job.url });
  return new MemorySessionStorage();
}

const rests = storage();
const bot = new Bot("1:token", {
  botInfo: {
    id: 1,
    is_bot: true,
    first_name: "Bot",
    username: "bench_bot",
    can_join_groups: true,
    can_read_all_group_messages: false,
    supports_inline_queries: false,
    can_connect_to_business: false,
    has_main_web_app: false,
  },
});
bot.api.config.use(async (_call, _method, payload) => {
  replies++;
  return {
    ok: true,
    result: {
      message_id: replies,
      date: 1700000000,
      chat: { id: payload.chat_id, type: "private" },
      text: payload.text,
    },
  };
});
bot.use(session({ initial: () => ({ ...INITIAL }), storage: rests }));
bot.on("message:text", (ctx) =>
  answer(
    ctx.session,
    (changes) => Object.assign(ctx.session, changes),
    (text) => ctx.reply(text),
    ctx.message.text,
  ),
);

await measure({
  handle: (update) => bot.handleUpdate(update),
  read: (id) => rests.read(`${id}`),
  replies: () => replies,
  close: () => redis?.quit(),
});
