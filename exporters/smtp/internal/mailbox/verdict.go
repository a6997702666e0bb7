package mailbox

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"
)

// Checks are the ways to check a sender whose verdicts are told.
func Checks() []string { return []string{"spf", "dkim", "dmarc", "arc"} }

// Verdicts are the words for what came of a check, the best first; "other" stands for all that are not known.
func Verdicts() []string {
	return []string{"pass", "neutral", "none", "policy", "softfail", "temperror", "permerror", "fail", "hardfail", "other"}
}

// Authentication gives what the receiving server has found of the sender: by check, the best verdict. Only the server
// that wrote the topmost Authentication-Results is believed, as those below may be the sender's own words.
func (f Found) Authentication() map[string]string {
	verdicts := make(map[string]string)
	var server string
	for i, value := range f.Header["Authentication-Results"] {
		name, results, _ := authres.Parse(withoutComments(value)) // what was read before an error counts
		if i == 0 {
			server = name
		}
		if name != server {
			continue
		}
		for _, result := range results {
			note(verdicts, result)
		}
	}
	return verdicts
}

func note(verdicts map[string]string, result authres.Result) {
	var check string
	var verdict authres.ResultValue
	switch r := result.(type) {
	case *authres.SPFResult:
		check, verdict = "spf", r.Value
	case *authres.DKIMResult:
		check, verdict = "dkim", r.Value
	case *authres.DMARCResult:
		check, verdict = "dmarc", r.Value
	case *authres.ARCResult:
		check, verdict = "arc", r.Value
	default:
		return
	}
	for _, known := range Verdicts() {
		if known == string(verdict) || known == verdicts[check] || known == "other" {
			verdicts[check] = known
			return
		}
	}
}

// withoutComments leaves out what is in parentheses, which may hold anything.
func withoutComments(value string) string {
	var text strings.Builder
	depth, quoted, escaped := 0, false, false
	for _, r := range value {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
			continue
		case r == '"' && depth == 0:
			quoted = !quoted
		case r == '(' && !quoted:
			depth++
		case r == ')' && !quoted && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			text.WriteRune(r)
		}
	}
	return text.String()
}

// Hops gives the number of servers that the message went through.
func (f Found) Hops() int { return len(f.Header["Received"]) }
