// Bottender, 1.5 or 0.15, with its own Telegram connector, whose client is a stub.

import job, { answer, INITIAL, measure, YEAR } from "./workload.mjs";

const {
  default: { Bot, FileSessionStore, MemorySessionStore, RedisSessionStore, TelegramConnector },
} = await import(job.options.version === 0 ? "bottender-0" : "bottender-1");

let replies = 0;

const client = {
  async sendMessage(chatId, text) {
    replies++;
    return { messageId: replies, date: 1700000000, chat: { id: chatId, type: "private" }, text };
  },
};

function store() {
  if (job.store === "redis") return new RedisSessionStore(job.url, YEAR);
  if (job.store === "file") return new FileSessionStore(job.url, YEAR);
  return new MemorySessionStore(10_000, YEAR);
}

const sessionStore = store();
const connector = new TelegramConnector({ client });
// Without `sync` an event is answered before its session is written.
const bot = new Bot({ connector, sessionStore, sync: true });
bot.setInitialState(INITIAL);
bot.onEvent((context) =>
  answer(
    context.state,
    (changes) => context.setState(changes),
    (text) => context.sendText(text),
    context.event.text,
  ),
);
const handle = bot.createRequestHandler();

await measure({
  handle,
  read: async (id) => (await sessionStore.read(`telegram:${id}`))?._state,
  replies: () => replies,
  close: () => process.exit(), // its Redis client has no public end
});
