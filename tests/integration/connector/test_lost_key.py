"""An instance whose credential cannot be unsealed fails alone, and works again once its key is back."""

import os
from dataclasses import replace

import pytest

from libs.common.crypto import Keyring
from tests.integration.connector.conftest import World, check
from tests.integration.connector.test_fairness import add_instance, order_run

TEXT = "We can no longer read the stored credentials. Enter them again."


@pytest.mark.rule("C7")
async def test_lost_key_fails_one_instance_until_it_is_back(world: World) -> None:
    lost = Keyring("k0", {"k0": os.urandom(32)})
    await replace(world, keyring=lost).add_instance()
    secrets = {name: world.simulator[name] for name in ("identifier", "secret")}
    other = await add_instance(world, 2, 1, world.simulator["url"], **secrets)
    world.control("DELETE", "/calls")

    failed, checked = await world.sync(), await check(world)
    calls = world.control("GET", "/calls")["count"]
    await order_run(world, other)
    succeeded = await world.until(("SyncSucceeded", "SyncFailed"))
    world.keyring = Keyring("k1", {**world.keyring.keys, **lost.keys})
    recovered = await world.sync()

    assert (failed["type"], failed["code"], failed["message"]) == (
        "SyncFailed",
        "credential_unreadable",
        TEXT,
    )
    assert TEXT in [line["message"] for line in checked["checks"] if line["state"] == "failed"]
    assert calls == 0
    assert succeeded["outcome"] == recovered["outcome"] == "complete"
    # The failed run was tried once.
    assert len(await world.events("SyncStarted")) == 3
