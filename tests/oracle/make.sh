#!/usr/bin/env bash
# Asks the oracle: runs rsigma, version 0.23, over the rules and
# events of this folder and writes its answers to expected.json, which tests/oracle/main.rs holds
# against ours. Needs rsigma, jq and gzip; run it again after each change of a rule or an event.
#
#     cargo install rsigma --version '~0.23'    # needs a newer compiler than auditwatch does
#     tests/oracle/make.sh                      # or: RSIGMA=/path/to/rsigma tests/oracle/make.sh
#
# An answer is a rule's name and what matches it. Events of crafted.jsonl go by their auditID,
# those of events.jsonl.gz by their line. Of a correlation it is each event at which its condition
# is met, and the values of its key if it has one.
set -euo pipefail
cd "$(dirname "$0")"
rsigma=${RSIGMA:-rsigma}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

{ cat crafted.jsonl; gzip -dc events.jsonl.gz; } > "$work/events"
jq -c .auditID crafted.jsonl > "$work/crafted"
gzip -dc events.jsonl.gz | jq -c .auditID > "$work/recorded"

"$rsigma" engine eval --rules rules --input-format json --output-format ndjson --include-event \
    --timestamp-field requestReceivedTimestamp < "$work/events" > "$work/found" 2> "$work/said"
if grep -qi 'error' "$work/said"; then
    cat "$work/said" >&2
    exit 1
fi

# A correlation's line says no event; it comes after those of the rules that the event matches.
jq -n --slurpfile crafted "$work/crafted" --slurpfile recorded "$work/recorded" '
    (($crafted | map({(.): .}) | add)
        + ($recorded | to_entries | map({(.value): (.key + 1)}) | add)) as $names
    | reduce inputs as $found ({event: null, answers: {}};
        if $found.correlation_type then
            ([$found.group_key[][1] | select(. != "")] | join(", ")) as $key
            | (if $key == "" then .event else "\(.event): \($key)" end) as $answer
            | .answers[$found.rule_title] += [$answer]
        else
            .event = $names[$found.event.auditID]
            | .answers[$found.rule_title] += [.event]
        end)
    | .answers
' "$work/found" > "$work/answers"

# One rule a line.
jq -r 'to_entries | sort_by(.key) | map("  \(.key | tojson): \(.value | tojson)") | join(",\n")
    | "{\n\(.)\n}"' "$work/answers" > expected.json
