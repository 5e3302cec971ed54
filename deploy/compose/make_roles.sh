#!/bin/sh
# Make the database and its roles with their passwords; PostgreSQL runs this once, when its storage is new.
set -eu
secrets=/run/mrrlytics
make_role() {
  printf "CREATE ROLE %s LOGIN %s PASSWORD '%s';\n" "$1" "$2" "$(cat "$secrets/$1")"
}
{
  make_role gateway NOINHERIT
  make_role scheduler ''
  make_role connector ''
  make_role metrics ''
  make_role owner CREATEROLE
  echo 'GRANT gateway, scheduler, connector, metrics TO owner;'
  echo 'CREATE DATABASE mrrlytics OWNER owner;'
} | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username postgres
