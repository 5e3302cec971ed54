"""The table of programs, with PostgreSQL and Kafka elsewhere, so that nothing has to be prepared."""

from pathlib import Path

from tools.local_stack.process import Program, free_port
from tools.local_stack.programs import SERVICES, Stack, build, read_settings

ELSEWHERE = {
    "MRRLYTICS_DATABASE_URL": "postgresql://owner:of-it-all@db.example/mrr?application_name=x",
    "MRRLYTICS_KAFKA_BOOTSTRAP": "kafka.example:9093",
}


def stack(directory: Path, **settings: str) -> Stack:
    environment = {**ELSEWHERE, "MRRLYTICS_PORT": str(free_port()), **settings}
    return build(read_settings(environment), directory)


def program(stack: Stack, name: str) -> Program:
    [found] = [one for one in stack.programs if one.name == name]
    return found


def test_servers_that_run_elsewhere_are_not_started_here(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off")

    assert [one.name for one in built.programs] == ["migrate", "passwords", *SERVICES]
    assert built.for_tools == ELSEWHERE


def test_each_service_has_a_role_of_its_own_and_the_owner_only_migrates(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off")

    urls = {name: program(built, name).environment["MRRLYTICS_DATABASE_URL"] for name in SERVICES}
    for name, url in urls.items():
        assert url.startswith(f"postgresql+asyncpg://{name}:")
        assert url.endswith("@db.example/mrr?application_name=x")
        assert "of-it-all" not in url
    assert len({url.split("@")[0].split(":")[-1] for url in urls.values()}) == len(SERVICES)
    assert (
        program(built, "migrate").environment["MRRLYTICS_DATABASE_URL"] == ELSEWHERE["MRRLYTICS_DATABASE_URL"]
    )


def test_services_start_after_their_roles_have_passwords(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off")

    assert program(built, "passwords").after == ["migrate"]
    assert all("passwords" in program(built, name).after for name in SERVICES)


def test_the_way_to_the_simulator_joins_what_the_operator_allows(tmp_path: Path) -> None:
    built = stack(
        tmp_path, MRRLYTICS_EGRESS_ALLOW_CIDRS="10.1.0.0/16", MRRLYTICS_WHMCS_ALLOWED_PORTS="8444, 9443"
    )

    port = dict(zip(*[iter(program(built, "simulator").command[3:])] * 2, strict=False))["--port"]
    environment = program(built, "connector").environment
    assert environment["MRRLYTICS_EGRESS_ALLOW_CIDRS"] == "10.1.0.0/16,127.0.0.1/32"
    assert environment["MRRLYTICS_WHMCS_ALLOWED_PORTS"] == f"8444, 9443,{port}"
    assert environment["MRRLYTICS_EXTRA_CA_FILE"] == str(tmp_path / "extra-ca.pem")


def test_without_the_demo_the_operators_way_out_is_left_alone(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off", MRRLYTICS_EGRESS_ALLOW_CIDRS="10.1.0.0/16")

    for name in SERVICES:
        added = program(built, name).environment
        assert not {one for one in added if "EGRESS" in one or "WHMCS" in one or "CA_FILE" in one}
        assert "MRRLYTICS_DEMO_INSTANCE_FILE" not in added


def test_keys_reach_only_the_services_that_use_them(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off")

    def holders(setting: str) -> set[str]:
        return {one.name for one in built.programs if setting in one.environment}

    assert holders("MRRLYTICS_CREDENTIAL_KEYS_FILE") == {"gateway", "connector"}
    assert holders("MRRLYTICS_SESSION_KEY_FILE") == {"gateway"}
