"""What attacks share: from ``read`` to ``observe``."""

from mia_jax.types import Attack, Key, Records, Target


def from_answers(read, fit, score, **properties) -> Attack:
    """An Attack that needs nothing but plain answers: ``observe`` asks once and reads."""

    def observe(key: Key, target: Target, records: Records):
        del key
        return read(target.ask(records.x), records.y)

    return Attack(observe=observe, fit=fit, score=score, read=read, **properties)
