"""The commands of backup, seed and donor pods.

What belongs here: scripts for bash with the programs of the official image, which are also
Debian's: mariadb-backup, mbstream, gzip, sha256sum, socat, openssl. What does not: the pods
(`pods`). Pure.

Each script writes one message to its termination message: the manifest where it succeeds, else what
failed. Values come from the environment only, so that no name of an object is ever part of a
command.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ARCHIVE",
    "BACKUP",
    "CHECKSUMS",
    "DATA_FILE",
    "DONOR",
    "LOGS",
    "LOG_FILE",
    "MANIFEST",
    "MESSAGE_PATH",
    "PRUNE",
    "SEED_FROM_BACKUP",
    "SEED_FROM_DONOR",
    "SEED_PORT",
]

DATA_FILE: Final = "data.mbstream.gz"
LOG_FILE: Final = "log.sql.gz"
MANIFEST: Final = "manifest.json"
CHECKSUMS: Final = "SHA256SUMS"
"""Written last, by a rename: a directory without it is no backup."""
MESSAGE_PATH: Final = "/tmp/termination-message"  # noqa: S108 - in the pod
SEED_PORT: Final = 3309

_START: Final = f"""
set -euo pipefail
umask 027
fail() {{ printf '%s\\n' "$1" | head -c 4000 | tee {MESSAGE_PATH} >&2; exit 1; }}
last() {{ grep -v '^$' "$1" | tail -n 3 | tr '\\n' ' '; }}
"""

_READ_SERVER: Final = r"""
server() {
  mariadb --no-defaults --host="$HOST" --port="$PORT" --user="$ACCOUNT" \
    --batch --skip-column-names "$@"
}
follow() { server --execute="SELECT MASTER_GTID_WAIT('$1', 120)"; }
stream() {
  mariadb-backup --no-defaults --backup --stream=mbstream --datadir=/var/lib/mysql/data \
    --tmpdir=/work --target-dir=/work --extra-lsndir=/work \
    --host="$HOST" --port="$PORT" --user="$ACCOUNT" 2>/work/log
}
"""

BACKUP: Final = (
    _START
    + _READ_SERVER
    + rf"""
place=/backup/$DIRECTORY
if test -e "$place/{CHECKSUMS}"; then
  grep -q "\"uid\":\"$BACKUP_UID\"" "$place/{MANIFEST}" ||
    fail "$DIRECTORY holds another backup already: choose another name for the MysqlBackup"
  cat "$place/{MANIFEST}" > {MESSAGE_PATH}
  exit 0
fi
rm -rf "$place"
mkdir -p "$place" || fail "$DIRECTORY cannot be created on the volume: is it writable by user 999?"
started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
state=$(server --execute='SELECT @@gtid_binlog_state') ||
  fail "the server of $MEMBER cannot be read"
stream | gzip -1 > "$place/{DATA_FILE}" || fail "reading $MEMBER failed: $(last /work/log)"
sync
value() {{ sed -n "s/^$1 = //p" /work/xtrabackup_info; }}
gtid=$(value binlog_pos | sed -n "s/.*GTID of the last change '\([-0-9,]*\)'.*/\1/p")
version=$(value server_version | tr -cd 'A-Za-z0-9._+:~-')
sum=$(sha256sum < "$place/{DATA_FILE}" | cut -d ' ' -f 1)
size=$(stat -c %s "$place/{DATA_FILE}")
printf '{{"format":1,"backup":"%s","uid":"%s","cluster":"%s","shard":"%s","member":"%s"' \
  "$BACKUP" "$BACKUP_UID" "$CLUSTER" "$SHARD" "$MEMBER" > "$place/{MANIFEST}"
printf ',"clusterUid":"%s"' "$CLUSTER_UID" >> "$place/{MANIFEST}"
printf ',"startedAt":"%s","completedAt":"%s","gtid":"%s","binlogState":"%s","serverVersion":"%s"' \
  "$started" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$gtid" "$state" "$version" >> "$place/{MANIFEST}"
printf ',"files":[{{"name":"{DATA_FILE}","bytes":%s,"sha256":"%s"}}]}}\n' \
  "$size" "$sum" >> "$place/{MANIFEST}"
(cd "$place" && sha256sum {MANIFEST} {DATA_FILE} > {CHECKSUMS}.new)
sync
mv "$place/{CHECKSUMS}.new" "$place/{CHECKSUMS}"
sync
cat "$place/{MANIFEST}" > {MESSAGE_PATH}
"""
)
"""Reads a member beside its server, and writes data, manifest and checksums. It may run twice."""

LOGS: Final = (
    _START
    + _READ_SERVER
    + rf"""
place=/backup/$DIRECTORY
grep -q "\"uid\":\"$BACKUP_UID\"" "$place/{MANIFEST}" || fail "$DIRECTORY holds another backup now"
if ! grep -q '"cut":' "$place/{MANIFEST}"; then
  if test "$FOLLOWS" = yes; then
    waited=$(follow "$CUT") ||
      fail "the server of $MEMBER cannot be read"
    test "$waited" = 0 || fail "$MEMBER has not applied $CUT within 120 s"
  fi
  range=(--stop-position="$CUT")
  test -z "$BASE" || range+=(--start-position="$BASE")
  (cd /var/lib/mysql/data && mariadb-binlog --no-defaults "${{range[@]}}" binlog.[0-9]*) \
    2>/work/log | gzip -1 > "$place/{LOG_FILE}" ||
    fail "the binary logs of $MEMBER from $BASE to $CUT cannot be read: $(last /work/log)"
  sync
  sum=$(sha256sum < "$place/{LOG_FILE}" | cut -d ' ' -f 1)
  size=$(stat -c %s "$place/{LOG_FILE}")
  file="{{\"name\":\"{LOG_FILE}\",\"bytes\":$size,\"sha256\":\"$sum\"}}"
  sed "s/\]}}$/,$file],\"cut\":\"$CUT\",\"cutAt\":\"$CUT_AT\"}}/" "$place/{MANIFEST}" > "$place/{MANIFEST}.new"
  sync
  mv "$place/{MANIFEST}.new" "$place/{MANIFEST}"
fi
(cd "$place" && sha256sum {MANIFEST} {DATA_FILE} {LOG_FILE} > {CHECKSUMS}.new)
mv "$place/{CHECKSUMS}.new" "$place/{CHECKSUMS}"
sync
cat "$place/{MANIFEST}" > {MESSAGE_PATH}
"""
)
"""Adds to a backup the transactions between its position and that of the cut. It may run twice."""

_PREPARE: Final = r"""
incoming=/var/lib/mysql/incoming
receive() {
  rm -rf "$incoming" /var/lib/mysql/seeded
  mkdir -p "$incoming"
  mbstream -x -C "$incoming"
}
transactions() {
  if test -n "$1"; then gzip -dc "$1" || return 1; fi
  local each range
  for each in ${replayed[@]+"${replayed[@]}"}; do
    IFS='|' read -r -a range <<< "$each"
    replay_logs "${range[@]}" || return 1
  done
}
apply() {
  mariadbd --no-defaults --datadir="$incoming" --tmpdir=/work --socket=/work/socket \
    --pid-file=/work/pid --skip-networking --skip-grant-tables --skip-log-bin --skip-slave-start \
    > /work/log 2>&1 &
  local server=$!
  local client=(mariadb --no-defaults --socket=/work/socket --user=root --binary-mode)
  for _ in {1..600}; do
    "${client[@]}" --execute='DO 1' 2>/dev/null && break
    kill -0 "$server" 2>/dev/null || fail "the copy of $SOURCE does not start: $(last /work/log)"
    sleep 0.1
  done
  # statements about accounts need the grant tables: this session keeps the rights that it has
  { echo 'FLUSH PRIVILEGES;'; transactions "$1"; } | "${client[@]}" > /work/applied 2>&1 ||
    fail "the transactions after the backup cannot be applied: $(last /work/applied)"
  kill -TERM "$server"
  wait "$server" || fail "the copy of $SOURCE does not stop: $(last /work/log)"
}
prepare() {
  test -s "$incoming/xtrabackup_info" ||
    fail "the copy of $SOURCE is not complete: its last file is missing"
  mariadb-backup --no-defaults --prepare --target-dir="$incoming" > /work/log 2>&1 ||
    fail "the copy of $SOURCE cannot be prepared: $(last /work/log)"
  local info="$incoming/xtrabackup_binlog_info"
  test -e "$info" || info="$incoming/mariadb_backup_binlog_info"
  gtid=$(cut -f 3 "$info" | tr -d '\n ')
  if test -n "${4:-}"; then
    apply "$3"
    gtid=$4
  fi
  {
    for each in ${1//,/ }; do
      case ",$gtid" in *",${each%-*}-"*) ;; *) echo "$each" ;; esac
    done
    for each in ${gtid//,/ }; do echo "$each"; done
  } > "$incoming/binlog.state"
  {
    echo 'DELETE FROM mysql.gtid_slave_pos;'
    number=1
    for each in ${gtid//,/ }; do
      IFS=- read -r domain server sequence <<< "$each"
      echo "INSERT INTO mysql.gtid_slave_pos VALUES ($domain, $number, $server, $sequence);"
      number=$((number + 1))
    done
    printf '%s\n' "$2"
  } | mariadbd --no-defaults --bootstrap --datadir="$incoming" --tmpdir=/work \
    --socket=/work/socket --skip-log-bin > /work/log 2>&1 ||
    fail "the copy of $SOURCE does not start: $(last /work/log)"
  id=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
  printf '[mariadbd]\nserver_id=1%s\n' "$id" > "$incoming/operatorkit.cnf"
  sync
  mv "$incoming" /var/lib/mysql/seeded
  sync
}
"""
"""prepare STATE SQL: STATE is gtid_binlog_state of the server before the copy, SQL runs in the
prepared data.

A server without binary logs takes its gtid_binlog_state from binlog.state, which exists for such
copies.
"""

_NEW_CLUSTER: Final = """DELETE FROM operatorkit.epoch;
DELETE FROM operatorkit.promotions;
DELETE FROM mysql.global_priv WHERE User NOT IN ('root', 'mariadb.sys', 'PUBLIC');
DELETE FROM mysql.db;
DELETE FROM mysql.tables_priv;
DELETE FROM mysql.columns_priv;
DELETE FROM mysql.procs_priv;
DELETE FROM mysql.proxies_priv;
DELETE FROM mysql.roles_mapping;"""
"""A cluster that is restored counts its own epochs, and has the accounts of its own spec."""

_REPLAY: Final = (
    r"""
read_logs() {
  local range=(--stop-position="$3")
  test -z "$2" || range+=(--start-position="$2")
  test -z "${4:-}" || range+=(--stop-datetime="$4")
  TZ=UTC mariadb-binlog --no-defaults "${range[@]}" "$1"/binlog.[0-9]* 2>/work/read
}
replay_logs() {
  read_logs "$@" || return 1
  ! grep -q 'Did not reach stop position' /work/read
}
plan_logs() {
  read_logs "$@" && return 0
  grep -q 'never reached expected GTID state' /work/read  # the moment is before the first of them
}
reaches() {
  local each other found
  for each in ${2//,/ }; do
    found=no
    for other in ${1//,/ }; do
      if test "${other%%-*}" = "${each%%-*}" && test "${other##*-}" -ge "${each##*-}"; then
        found=yes
      fi
    done
    test "$found" = yes || return 1
  done
}
last_of() {
  { tr ',' '\n' <<< "$1"; sed -n 's/^#[0-9]\{6\} .* server id .*\tGTID \([0-9-]*\) .*/\1/p'; } |
    awk -F- 'NF == 3 { last[$1] = $0 } END { for (each in last) print last[each] }' |
    sort -n | paste -s -d ,
}
moment() {
  sed -n "s/.*\"$1\":\"\([-0-9]*T[0-9:]*Z\)\".*/\1/p" "$2"
}
"""
    rf"""
plan_replay() {{
  local uid archive position earliest last each begins ends through reached
  uid=$(sed -n 's/.*"clusterUid":"\([-0-9a-zA-Z]*\)".*/\1/p' "$place/{MANIFEST}")
  test -n "$uid" || fail "$DIRECTORY does not name its cluster: it can be restored as of its own\
 moment only, without pointInTime"
  archive=/backup/$(dirname "$(dirname "$DIRECTORY")")/_binlogs/$uid/$(basename "$DIRECTORY")
  position=$(value '"gtid":"')
  position=${{target:-$position}}
  earliest=$(moment cutAt "$place/{MANIFEST}")
  test -n "$earliest" || earliest=$(moment completedAt "$place/{MANIFEST}")
  last=$earliest
  [[ "$POINT" < "$earliest" ]] && fail "pointInTime $POINT is before the backup $DIRECTORY, which\
 is of $earliest: use an earlier backup"
  for each in "$archive"/[0-9]*; do
    test -e "$each/{CHECKSUMS}" || continue
    [[ "$last" > "$POINT" || "$last" = "$POINT" ]] && break
    begins=$(sed -n 's/.*"begins":"\([-0-9,]*\)".*/\1/p' "$each/{MANIFEST}")
    ends=$(sed -n 's/.*"ends":"\([-0-9,]*\)".*/\1/p' "$each/{MANIFEST}")
    through=$(moment through "$each/{MANIFEST}")
    if reaches "$position" "$ends" && [[ ! "$through" > "$last" ]]; then continue; fi
    (cd "$each" && sha256sum --check --strict --status {CHECKSUMS}) ||
      fail "${{each#/backup/}} is corrupted or truncated, and nothing after $last can be restored:\
 use a pointInTime from $earliest to $last"
    if ! reaches "$position" "$ends"; then
      reaches "$position" "$begins" || break
      plan_logs "$each" "$position" "$ends" "${{POINT//[TZ]/ }}" > /work/planned ||
        fail "${{each#/backup/}} cannot be read: $(last /work/read)"
      reached=$(last_of "$position" < /work/planned)
      rm -f /work/planned
      if test "$reached" != "$position"; then replayed+=("$each|$position|$reached"); fi
      position=$reached
      if ! reaches "$reached" "$ends"; then last=$POINT; break; fi
    fi
    if [[ "$through" > "$last" ]]; then last=$through; fi
  done
  if [[ "$THROUGH" > "$last" ]] && reaches "$position" "$ARCHIVED_TO"; then last=$THROUGH; fi
  [[ "$last" < "$POINT" ]] && fail "pointInTime $POINT is after the last archived binary log of\
 $DIRECTORY, or logs are missing: use one from $earliest to $last"
  test -z "${{replayed[*]-}}" || target=$position
}}
"""
)
"""Finds, before anything is written, which archived logs lead from a backup to a moment, and the
last transaction before that."""

SEED_FROM_BACKUP: Final = (
    _START
    + _PREPARE
    + _REPLAY
    + rf"""
SOURCE=$DIRECTORY
place=/backup/$DIRECTORY
test ! -e /var/lib/mysql/data ||
  fail "the volume of $MEMBER has data already: nothing is restored into it"
test -d "$place" || fail "there is no directory $DIRECTORY on the volume: check claim and path"
test -e "$place/{CHECKSUMS}" ||
  fail "$DIRECTORY is not complete: it has no {CHECKSUMS}; use another backup"
wanted() {{ sed -n "s/^\([0-9a-f]\{{64\}}\)  $1\$/\1/p" "$place/{CHECKSUMS}"; }}
verify() {{
  test -n "$2" || fail "$DIRECTORY/{CHECKSUMS} has no line for $1; use another backup"
  test -e "$place/$1" || fail "$DIRECTORY/$1 is missing: expected SHA-256 $2; use another backup"
  local found
  found=$(sha256sum < "$place/$1" | cut -d ' ' -f 1)
  test "$found" = "$2" || fail "$DIRECTORY/$1 is corrupted or truncated: expected$3 SHA-256 $2,\
 found $(stat -c %s "$place/$1") bytes with SHA-256 $found; use another backup"
}}
verify {MANIFEST} "$(wanted {MANIFEST})" ""
value() {{ sed -n "s/.*$1\([-0-9,]*\).*/\1/p" "$place/{MANIFEST}"; }}
bytes=$(value '"name":"{DATA_FILE}","bytes":' | tr -d ,)
verify {DATA_FILE} "$(wanted {DATA_FILE})" " $bytes bytes with"
test -z "$SHA256" || verify {DATA_FILE} "$SHA256" " $bytes bytes with"
cut=$(value '"cut":"')
target=$cut
log=
if test -n "$cut"; then
  log=$place/{LOG_FILE}
  bytes=$(value '"name":"{LOG_FILE}","bytes":' | tr -d ,)
  verify {LOG_FILE} "$(wanted {LOG_FILE})" " $bytes bytes with"
fi
replayed=()
test -z "$POINT" || plan_replay
gzip -dc "$place/{DATA_FILE}" | receive || fail "$DIRECTORY/{DATA_FILE} cannot be extracted"
prepare "$(value '"binlogState":"')" "$NEW_CLUSTER" "$log" "$target"
cat "$place/{MANIFEST}" > {MESSAGE_PATH}
""".replace("$NEW_CLUSTER", _NEW_CLUSTER)
)
"""Verifies a backup, and extracts it beside the data directory. It may run twice."""

SEED_FROM_DONOR: Final = (
    _START
    + _READ_SERVER
    + _PREPARE
    + rf"""
SOURCE=$DONOR
state=$(server --execute='SELECT @@gtid_binlog_state') ||
  fail "the server of $DONOR cannot be read"
socat -u "TCP:$DONOR_POD_IP:{SEED_PORT},retry=60,interval=1" STDOUT |
  openssl enc -d -aes-256-ctr -pbkdf2 -pass env:STREAM_KEY | receive ||
  fail "the copy of $DONOR was not received"
prepare "$state" ""
printf '{{"donor":"%s","gtid":"%s"}}' "$DONOR" "$gtid" > {MESSAGE_PATH}
"""
)
"""Receives the data of another member, and prepares it beside the data directory. It may run
twice."""

DONOR: Final = (
    _START
    + _READ_SERVER
    + rf"""
stream | openssl enc -aes-256-ctr -pbkdf2 -pass env:STREAM_KEY |
  socat -u STDIN "TCP-LISTEN:{SEED_PORT},bind=$POD_IP,reuseaddr" ||
  fail "sending the data of $MEMBER failed: $(last /work/log)"
"""
)
"""Sends the data of a member once, encrypted by a key that only this shard's pods have."""

PRUNE: Final = (
    _START
    + rf"""
place=/backup/$DIRECTORY
case "/$DIRECTORY/" in //|*/../*|*/./*) fail "$DIRECTORY is no directory of a backup" ;; esac
for each in "$place"/*/{MANIFEST}; do
  test -e "$each" || continue
  grep -q "\"uid\":\"$BACKUP_UID\"" "$each" ||
    fail "$DIRECTORY holds another backup, which is not deleted: delete the MysqlBackup yourself"
done
rm -f "$place"/*/{CHECKSUMS}
sync
rm -rf "$place" || fail "$DIRECTORY cannot be deleted"
test -n "$OLDEST" || exit 0
for each in "/backup/$ARCHIVE"/*/[0-9]*; do
  test -e "$each/{CHECKSUMS}" || continue
  through=$(sed -n 's/.*"through":"\([-0-9]*T[0-9:]*Z\)".*/\1/p' "$each/{MANIFEST}")
  [[ -n "$through" && "$through" < "$OLDEST" ]] || continue
  rm -f "$each/{CHECKSUMS}"
  rm -rf "$each" || fail "${{each#/backup/}} cannot be deleted"
done
"""
)
"""Deletes a backup; what is left of an interrupted deletion has no checksums. It may run twice."""

ARCHIVE: Final = (
    _START
    + rf"""
place=/backup/$DIRECTORY
if test -e "$place/{CHECKSUMS}"; then
  cat "$place/{MANIFEST}" > {MESSAGE_PATH}
  exit 0
fi
rm -rf "$place"
mkdir -p "$place" || fail "$DIRECTORY cannot be created on the volume: is it writable by user 999?"
read -r -a files <<< "$FILES"
(cd /var/lib/mysql/data && cp -- "${{files[@]}}" "$place/") 2>/work/log ||
  fail "the binary logs of $MEMBER cannot be copied: $(last /work/log)"
range=(--stop-position="$ENDS")
test -z "$BEGINS" || range+=(--start-position="$BEGINS")
(cd "$place" && mariadb-binlog --no-defaults --verify-binlog-checksum "${{range[@]}}" "${{files[@]}}") \
  > /dev/null 2>/work/log || fail "the binary logs of $MEMBER cannot be read: $(last /work/log)"
if grep -q 'Did not reach stop position' /work/log; then
  fail "the binary logs of $MEMBER end before $ENDS: $(last /work/log)"
fi
size=$(cat "$place"/binlog.[0-9]* | wc -c)
printf '{{"format":1,"shard":"%s","member":"%s","number":%s,"begins":"%s","ends":"%s"' \
  "$SHARD" "$MEMBER" "$NUMBER" "$BEGINS" "$ENDS" > "$place/{MANIFEST}"
printf ',"through":"%s","bytes":%s}}\n' "$THROUGH" "$size" >> "$place/{MANIFEST}"
sync
(cd "$place" && sha256sum {MANIFEST} "${{files[@]}}" > {CHECKSUMS}.new)
mv "$place/{CHECKSUMS}.new" "$place/{CHECKSUMS}"
sync
cat "$place/{MANIFEST}" > {MESSAGE_PATH}
"""
)
"""Copies closed binary logs of a member, and reads them once from begin to end. It may run twice."""
