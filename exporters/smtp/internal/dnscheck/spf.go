package dnscheck

import (
	"context"
	"regexp"
	"strings"
)

// Limits on SPF: what receivers allow by RFC 7208, and how far beyond it is counted.
const (
	maxLooks    = 10
	maxIncludes = 40 // records that are read
)

// SPF is what a domain says of who may send its mail.
type SPF struct {
	// Lookups is the number of look-ups that receivers may need; more than 10 break it. It is counted up to where a record
	// could not be read.
	Lookups int
	// All is what holds for everybody else: fail, softfail, neutral or pass. "neutral" also where nothing is said.
	All string
}

// spfTerm is a mechanism or a modifier: qualifier, name and what comes after.
var spfTerm = regexp.MustCompile(`(?i)^([-+~?]?)(all|include|a|mx|ptr|ip4|ip6|exists)((?:[:/].+)?)$`)

var (
	spfModifier = regexp.MustCompile(`(?i)^([a-z][a-z0-9_.-]*)=(.*)$`)
	qualifiers  = map[string]string{"": "pass", "+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
)

// SPF reads the record of a domain and those that it includes. What could be told comes beside an error, too.
func (r *Resolver) SPF(ctx context.Context, domain string) (SPF, error) {
	walk := &spfWalk{resolver: r, budget: maxIncludes}
	all, err := walk.record(ctx, domain)
	s := SPF{Lookups: walk.lookups, All: all}
	if err == nil && s.Lookups > maxLooks {
		err = failf(TooManyLooks, "receivers make %d look-ups at most, and %d are needed", maxLooks, s.Lookups)
	}
	return s, err
}

// spfWalk counts over all records.
type spfWalk struct {
	resolver *Resolver
	lookups  int
	budget   int
}

// record reads one record and gives what it says of everybody else.
func (w *spfWalk) record(ctx context.Context, domain string) (all string, err error) {
	if w.budget--; w.budget < 0 {
		return "", failf(TooManyLooks, "the records include each other without an end")
	}
	texts, err := w.resolver.texts(ctx, domain)
	if err != nil {
		return "", err
	}
	text, err := the(texts, "v=spf1", " ")
	if err != nil {
		return "", err
	}
	redirect := ""
	for _, term := range strings.Fields(text)[1:] {
		if m := spfTerm.FindStringSubmatch(term); m != nil {
			if all != "" {
				continue // nothing after it counts
			}
			if all, err = w.mechanism(ctx, m); err != nil {
				return all, err
			}
			continue
		}
		m := spfModifier.FindStringSubmatch(term)
		if m == nil {
			return all, failf(BadRecord, "the record of %s has %q", domain, term)
		}
		if strings.EqualFold(m[1], "redirect") {
			redirect = m[2]
		}
	}
	switch {
	case all != "":
		return all, nil
	case redirect != "":
		w.lookups++
		return w.included(ctx, redirect)
	}
	return "neutral", nil
}

// mechanism counts one. It gives the qualifier of "all".
func (w *spfWalk) mechanism(ctx context.Context, m []string) (all string, err error) {
	name, value := strings.ToLower(m[2]), strings.TrimPrefix(m[3], ":")
	needsValue := name == "include" || name == "exists" || name == "ip4" || name == "ip6"
	switch {
	case needsValue && (value == "" || !strings.HasPrefix(m[3], ":")), name == "all" && m[3] != "":
		return "", failf(BadRecord, "a record has %q", m[0])
	case name == "all":
		return qualifiers[m[1]], nil
	case name == "ip4", name == "ip6":
		return "", nil
	}
	w.lookups++
	if name == "include" {
		_, err = w.included(ctx, value)
	}
	return "", err
}

// included reads a record that another one names. One with a macro in its name depends on the mail, and cannot be read.
func (w *spfWalk) included(ctx context.Context, domain string) (all string, err error) {
	if strings.Contains(domain, "%") {
		return "neutral", nil
	}
	all, err = w.record(ctx, domain)
	switch ReasonOf(err) {
	case NotFound, Several, BadRecord, BadName:
		err = failf(BrokenInclude, "the record of %s, which is included: %w", domain, err)
	}
	return all, err
}
