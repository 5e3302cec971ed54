"""The table of programs. PostgreSQL and Kafka run elsewhere, so that the tests need no storage."""

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
    [match] = [program for program in stack.programs if program.name == name]
    return match


def test_servers_that_run_elsewhere_are_not_started_here(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off")

    assert [program.name for program in built.programs] == ["migrate", "passwords", *SERVICES]
    assert built.for_tools == ELSEWHERE


def test_each_service_has_its_role_and_only_migrate_the_owner(tmp_path: Path) -> None:
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


def test_simulator_is_added_to_the_operators_allow_lists(tmp_path: Path) -> None:
    built = stack(
        tmp_path, MRRLYTICS_EGRESS_ALLOW_CIDRS="10.1.0.0/16", MRRLYTICS_WHMCS_ALLOWED_PORTS="8444, 9443"
    )

    port = dict(zip(*[iter(program(built, "simulator").command[3:])] * 2, strict=False))["--port"]
    environment = program(built, "connector").environment
    assert environment["MRRLYTICS_EGRESS_ALLOW_CIDRS"] == "10.1.0.0/16,127.0.0.1/32"
    assert environment["MRRLYTICS_WHMCS_ALLOWED_PORTS"] == f"8444, 9443,{port}"
    assert environment["MRRLYTICS_EXTRA_CA_FILE"] == str(tmp_path / "extra-ca.pem")


def test_network_settings_stay_unchanged_without_the_demo(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off", MRRLYTICS_EGRESS_ALLOW_CIDRS="10.1.0.0/16")

    for name in SERVICES:
        environment = program(built, name).environment
        assert not [key for key in environment if "EGRESS" in key or "WHMCS" in key or "CA_FILE" in key]
        assert "MRRLYTICS_DEMO_INSTANCE_FILE" not in environment


def test_keys_reach_only_the_services_that_use_them(tmp_path: Path) -> None:
    built = stack(tmp_path, MRRLYTICS_DEMO="off")

    def holders(setting: str) -> set[str]:
        return {program.name for program in built.programs if setting in program.environment}

    assert holders("MRRLYTICS_CREDENTIAL_KEYS_FILE") == {"gateway", "connector"}
    assert holders("MRRLYTICS_SESSION_KEY_FILE") == {"gateway"}
