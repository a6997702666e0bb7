package dnscheck

import (
	"errors"
	"fmt"
)

// Reason is why a check failed. Its text is the value of reason labels.
type Reason string

// The reasons. The first ones can come in every check, the others in those that their comments name.
const (
	NoReason      Reason = ""
	NotFound      Reason = "not_found"      // there is no such record
	Timeout       Reason = "timeout"        // no answer in time
	Unreachable   Reason = "unreachable"    // the name server cannot be reached
	ServerFailure Reason = "server_failure" // the name server could not find out, or DNSSEC does not verify
	Refused       Reason = "refused"        // the name server does not want to tell
	BadAnswer     Reason = "bad_answer"     // the name server answers garbage or something else
	TooLarge      Reason = "too_large"      // an answer or a policy that is longer than any should be
	BadName       Reason = "bad_name"       // what is looked up is no name
	Several       Reason = "several"        // there are several records where one may be
	BadRecord     Reason = "bad_record"     // the record breaks the rules of its kind
	NotAllowed    Reason = "not_allowed"    // the address is one that probes must not reach
	NullMX        Reason = "null_mx"        // mx: the domain says that it takes no mail
	MXNotHost     Reason = "mx_not_host"    // mx: a record names an address or an alias
	Unconfirmed   Reason = "unconfirmed"    // ptr: the name of an address does not lead back to it
	TooManyLooks  Reason = "too_many_looks" // spf: more look-ups than receivers make
	BrokenInclude Reason = "broken_include" // spf: a record that is included is missing or broken
	NoPolicy      Reason = "no_policy"      // mta_sts: the policy cannot be fetched
	BadTLS        Reason = "bad_tls"        // mta_sts: the server of the policy has no good certificate
	BadPolicy     Reason = "bad_policy"     // mta_sts: the policy breaks the rules
	Mismatch      Reason = "mismatch"       // mta_sts: a host is not in the policy; tlsa: no record fits the certificate
	Unsigned      Reason = "unsigned"       // tlsa: not verified by DNSSEC, so that nobody may trust it
	NoCertificate Reason = "no_certificate" // tlsa: the host shows no certificate
	BadList       Reason = "bad_list"       // dnsbl: the list lists nobody, everybody, or what means nothing
	PublicServer  Reason = "public_server"  // dnsbl: the list does not answer such name servers
	TooMany       Reason = "too_many"       // dnsbl: we ask the list too often
)

// Reasons lists all reasons in the order of the documentation.
func Reasons() []Reason {
	return []Reason{NotFound, Timeout, Unreachable, ServerFailure, Refused, BadAnswer, TooLarge, BadName, Several, BadRecord, NotAllowed,
		NullMX, MXNotHost, Unconfirmed, TooManyLooks, BrokenInclude, NoPolicy, BadTLS, BadPolicy, Mismatch, Unsigned, NoCertificate,
		BadList, PublicServer, TooMany}
}

// Error is an error with its reason. Its text is for people alone.
type Error struct {
	Reason Reason
	Err    error
}

// Error says it in words.
func (p *Error) Error() string { return p.Err.Error() }

// Unwrap gives the cause.
func (p *Error) Unwrap() error { return p.Err }

// ReasonOf tells the reason of an error of this package, NoReason of nil.
func ReasonOf(err error) Reason {
	var problem *Error
	switch {
	case err == nil:
		return NoReason
	case errors.As(err, &problem):
		return problem.Reason
	}
	return BadAnswer
}

func failf(reason Reason, format string, args ...any) error {
	return &Error{reason, fmt.Errorf(format, args...)}
}

// unanswered tells whether nobody knows, as there was no answer.
func unanswered(err error) bool {
	switch ReasonOf(err) {
	case Timeout, Unreachable, ServerFailure, Refused, BadAnswer, TooLarge:
		return true
	}
	return false
}
