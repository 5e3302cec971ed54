#!/bin/sh
# Write the secrets of an installation beside this file, each once: a second run changes none of them. Git ignores them.
set -eu
cd "$(dirname "$0")"
umask 077

for role in owner gateway scheduler connector metrics; do
  if [ ! -e "db-$role.password" ]; then
    openssl rand -hex 32 | tr -d '\n' > "db-$role.password"
    printf 'postgresql+asyncpg://%s:%s@mrrlytics-postgres-rw:5432/mrrlytics' "$role" "$(cat "db-$role.password")" > "db-$role.url"
  fi
done
if [ ! -e credential-keys.json ]; then
  printf '{"primary": "k1", "keys": {"k1": "%s"}}\n' "$(openssl rand -base64 32)" > credential-keys.json
fi
if [ ! -e session.key ]; then
  openssl rand -base64 32 > session.key
fi
