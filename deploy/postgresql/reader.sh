#!/bin/sh
# Makes the role that the API reads with: it can write nothing. PostgreSQL's image runs this once.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
     --set password="$(cat /run/secrets/reader_password)" --set owner="$POSTGRES_USER" <<'SQL'
CREATE ROLE reader LOGIN PASSWORD :'password';
ALTER ROLE reader SET default_transaction_read_only = on;
GRANT USAGE ON SCHEMA public TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO reader;
SQL
