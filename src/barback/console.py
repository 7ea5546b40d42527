from barback.bot import Bot


class ConsoleBot(Bot):
    pass
