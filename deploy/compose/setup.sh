#!/usr/bin/env bash
# Writes what compose.yaml needs and a repository cannot hold: .env and deploy/compose/secrets. What is there stays as it
# is, so that it can be run again. Needs openssl.
#
#   deploy/compose/setup.sh [FOLDER]    FOLDER: where .env and deploy/compose/secrets go; this repository unless given
set -euo pipefail
umask 077
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "${1:-$repository}"
secrets=deploy/compose/secrets

random() { openssl rand -hex "$1"; } # so many bytes, which are twice as many characters

# value NAME prints what .env says.
value() { sed -n "s/^$1=//p" .env; }

# put NAME VALUE writes a value into .env.
put() {
	awk -v name="$1" 'BEGIN { value = ENVIRON["VALUE"] } index($0, name "=") == 1 { $0 = name "=" value } { print }' .env >.env.new
	mv .env.new .env
}

# fill NAME VALUE puts a value into .env where there is none.
fill() { [ -n "$(value "$1")" ] || VALUE=$2 put "$1"; }

# keep NAME VALUE writes a secret unless there is one. It is not ended by a new line, since not all who read it strip that.
keep() { [ -s "$secrets/$1" ] || printf %s "$2" >"$secrets/$1"; }

# derive NAME VALUE writes a secret that follows from others.
derive() { printf %s "$2" >"$secrets/$1"; }

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d =; }

# sign prints the HMAC-SHA256 of its input by JWT_SECRET, in Base64. By hand, since openssl takes the key as an argument,
# which every user of the host sees.
sign() {
	local key inner='' outer='' i byte
	key=$(value JWT_SECRET)
	for ((i = 0; i < 64; i++)); do
		byte=0
		[ $i -ge ${#key} ] || printf -v byte %d "'${key:i:1}"
		printf -v inner '%s\\x%02x' "$inner" $((byte ^ 0x36))
		printf -v outer '%s\\x%02x' "$outer" $((byte ^ 0x5c))
	done
	{ printf '%b' "$outer"; { printf '%b' "$inner"; cat; } | openssl dgst -sha256 -binary; } | openssl dgst -sha256 -binary | base64url
}

# signed NAME ROLE puts a token for a role into .env, unless there is one that JWT_SECRET has signed.
signed() {
	local now
	now=$(value "$1")
	if [ -z "$now" ] || [ "$(printf %s "${now%.*}" | sign)" != "${now##*.}" ]; then VALUE=$(token "$2") put "$1"; fi
}

# token ROLE prints a JSON Web Token for a role, signed with JWT_SECRET, that holds for ten years.
token() {
	local now text
	now=$(date +%s)
	text=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url).$(printf '{"role":"%s","iss":"platform","iat":%d,"exp":%d}' "$1" "$now" $((now + 315360000)) | base64url)
	printf '%s.%s' "$text" "$(printf %s "$text" | sign)"
}

group=$(id -g)
[ "$group" != 0 ] || group=65532 # root's own group would give containers more than the secrets
[ -e .env ] || cp "$repository/.env.example" .env
fill SECRETS_GID "$group"
fill DB_ADMIN_PASSWORD "$(random 16)"
fill JWT_SECRET "$(random 32)"
fill REALTIME_ENC_KEY "$(random 8)" # 16 characters: the key of AES-128
fill REALTIME_KEY_BASE "$(random 32)"
[[ $(value JWT_SECRET) =~ ^[[:graph:]]{32,64}$ ]] || { echo "JWT_SECRET in .env must have 32 to 64 characters" >&2; exit 1; }
signed ANON_KEY anon
signed SERVICE_KEY service_role

mkdir -p "$secrets"
for name in db_password monitor_password db_api_password redis_password_text round_trip grafana_password; do
	keep "$name" "$(random 16)"
done
derive db_admin_password "$(value DB_ADMIN_PASSWORD)"
derive db_api_uri "postgres://authenticator:$(cat $secrets/db_api_password)@db:5432/postgres"
derive jwt_secret "$(value JWT_SECRET)"
derive realtime_token "$(value ANON_KEY)"
derive redis_conf "requirepass $(cat $secrets/redis_password_text)
save 60 1
"
derive redis_password "{\"redis://redis:6379\": \"$(cat $secrets/redis_password_text)\"}"
chmod 640 "$secrets"/*
chgrp "$(value SECRETS_GID)" "$secrets" "$secrets"/*
echo "Grafana's user is $(value GRAFANA_USER), its password is in $secrets/grafana_password. Now: docker compose up --detach --wait"
