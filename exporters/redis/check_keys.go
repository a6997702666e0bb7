package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// keyRef is a key, or a pattern of keys, in a database.
type keyRef struct {
	db   int
	name string
}

// label is the database as metrics name it.
func (k keyRef) label() string { return "db" + strconv.Itoa(k.db) }

// put is a question put to the key's database. A cluster has only one.
func (k keyRef) put(id collect.Identity, args ...string) collect.Question {
	if has(id, cluster) {
		return ask(args...)
	}
	return inDatabase(k.db, ask(args...))
}

// parseKeys reads lists such as "db0=user%3A1,db3=queue:*,counter": parts of a URL, each with its database before it or
// in the first one.
func parseKeys(text string) ([]keyRef, error) {
	var keys []keyRef
	for part := range strings.SplitSeq(text, ",") {
		db, name, ok := strings.Cut(part, "=")
		if !ok {
			db, name = "0", part
		}
		if strings.Contains(name, "=") {
			return nil, errors.New("it must be a list such as db0=key,db3=other, with = and , in a key written as %3D and %2C")
		}
		name, err := url.QueryUnescape(strings.TrimSpace(name))
		if err != nil {
			return nil, errors.New("a percent sign in a key must be written as %25")
		}
		number, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(db), "db"))
		switch {
		case name == "":
			continue
		case err != nil || number < 0:
			return nil, fmt.Errorf("%.20q is no database: it must be such as db0", db)
		}
		keys = append(keys, keyRef{number, name})
	}
	return keys, nil
}

// glob tells whether a name is a pattern.
var glob = regexp.MustCompile(`[?*\[\]^]`)

// splitPatterns takes patterns and plain keys apart.
func splitPatterns(all []keyRef) (keys, patterns []keyRef) {
	for _, k := range all {
		if glob.MatchString(k.name) {
			patterns = append(patterns, k)
		} else {
			keys = append(keys, k)
		}
	}
	return keys, patterns
}

// keyChecks is which keys and streams the user wants to see.
type keyChecks struct {
	keys, keyPatterns       []keyRef
	streams, streamPatterns []keyRef
	counts                  []keyRef
	groups                  []string // Lua patterns
	maxGroups               int
	batch                   int // keys that one SCAN looks at
	values                  bool
	consumers               bool
	replicasOnly            bool
}

// needs leaves primaries alone where the user wants that.
func (k keyChecks) needs() collect.Needs { return collect.Needs{Replica: k.replicasOnly} }
