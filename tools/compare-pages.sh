#!/bin/sh
# Compares what two exporters show of the same server, to see what a change from one to the other costs:
#
#   tools/compare-pages.sh http://localhost:9187/metrics http://localhost:9091/metrics
#
# It prints each family of the first page that the second lacks or has in another type, and sets of labels that it uses
# no more, with the first names that have them; at the end, how many families there are. Values are not compared, nor
# what is about the programs (go_, process_, promhttp_). It fails only where it cannot have a page. Needs curl and awk.
set -eu
[ $# = 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }

pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT

# shape prints "type FAMILY TYPE" and "labels NAME LABEL,LABEL" of a page.
shape() {
	curl -sSf --max-time 60 "$1" >"$2.page"
	awk '
		function sorted(text,   n, all, i, j, t) {
			n = split(text, all, ",")
			for (i = 2; i <= n; i++)
				for (j = i; j > 1 && all[j] < all[j-1]; j--) { t = all[j]; all[j] = all[j-1]; all[j-1] = t }
			text = all[1]
			for (i = 2; i <= n; i++) text = text "," all[i]
			return text
		}
		$1 == "#" && $2 == "TYPE" { print "type", $3, $4; next }
		/^#/ || NF == 0 { next }
		{
			gsub(/\\./, ""); gsub(/="[^"]*"/, "")
			name = $0; sub(/[{ ].*/, "", name)
			labels = ""
			if (match($0, /\{[^}]*\}/)) labels = substr($0, RSTART + 1, RLENGTH - 2)
			sub(/,$/, "", labels)
			print "labels", name, "{" sorted(labels) "}"
		}' "$2.page" | grep -Ev '^[a-z]+ (go|process|promhttp)_' | sort -u >"$2"
}

shape "$1" "$pages/old"
shape "$2" "$pages/new"
awk '
	NR == FNR && $1 == "type" { type[$2] = $3; next }
	NR == FNR { labels[$2, $3] = 1; has[$2] = has[$2] " " $3; next }
	$1 == "type" {
		families++
		if (!($2 in type)) { print "missing  " $2 }
		else if (type[$2] != $3) { print "type     " $2 ": " $3 ", now " type[$2] }
		next
	}
	($2 in has) && !(($2, $3) in labels) { change = $3 ", now" has[$2]; names[change] = names[change] " " $2 }
	END {
		for (change in names) {
			count = split(names[change], some, " ")
			line = "labels   " change ":"
			for (i = 1; i <= count && i <= 3; i++) line = line " " some[i]
			print line (count > 3 ? " and " count - 3 " more" : "")
		}
		for (family in type) now++
		print families + 0 " families, now " now + 0
	}' "$pages/new" "$pages/old"
