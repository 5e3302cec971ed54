#!/bin/sh
# Format new storage with the users of the services, then start the broker. Users that exist keep their passwords.
set -eu
secrets=/run/mrrlytics
set --
while read -r user; do
  set -- "$@" --add-scram "$user"
done < "$secrets/users"
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id "$(cat "$secrets/cluster")" --config "$secrets/server.properties" "$@"
exec /opt/kafka/bin/kafka-server-start.sh "$secrets/server.properties"
