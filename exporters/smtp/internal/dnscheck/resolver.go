// Package dnscheck looks at what DNS says of a mail domain and of its hosts: where mail goes, who may send it, how it is
// protected on its way, and whether a list has an address blocked. What a name server does not tell is an error with a
// reason, never an empty answer.
package dnscheck

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Limits on name servers and on what is remembered of them.
const (
	attempt      = 2 * time.Second // of one server, which is then asked once more
	rounds       = 2
	maxServers   = 3
	maxExchanges = 32       // at once
	maxMessage   = 16 << 10 // bytes of an answer
	maxRemember  = 8 << 20  // bytes of all answers, as they passed the wire
	maxKeep      = time.Hour
	maxKeepEmpty = 5 * time.Minute // that there is no such name or record
	udpSize      = 1232
	maxAliases   = 8
)

// Resolver asks name servers that resolve names for us, and remembers their answers for as long as these say. It is
// safe for concurrent use.
type Resolver struct {
	servers   []string
	exchanges chan struct{}
	now       func() time.Time

	mu       sync.Mutex
	memory   map[question]remembered
	occupied int // bytes
}

type question struct {
	name string
	kind uint16
}

type remembered struct {
	answer Answer
	until  time.Time
	size   int
}

// NewResolver returns one that asks these servers, host:port each, one after another; without any those of the system.
func NewResolver(servers ...string) *Resolver {
	if len(servers) == 0 {
		servers = systemServers("/etc/resolv.conf")
	}
	return &Resolver{
		servers: servers[:min(len(servers), maxServers)], exchanges: make(chan struct{}, maxExchanges), now: time.Now,
		memory: map[question]remembered{},
	}
}

// systemServers reads a file in the format of resolv.conf. Without one the server is on this host, as for the C library.
func systemServers(path string) (servers []string) {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil || len(conf.Servers) == 0 {
		return []string{"127.0.0.1:53"}
	}
	for _, server := range conf.Servers {
		servers = append(servers, net.JoinHostPort(server, conf.Port))
	}
	return servers
}

// Answer is what there is of one kind at a name.
type Answer struct {
	Records []dns.RR // of the kind that was asked for; empty where there are none
	// Authenticated says that the server has verified the answer by DNSSEC. That is worth as much as the way to it.
	Authenticated bool
}

// Ask gives the records of a kind at a name, following aliases. That there is no such name is an empty answer; all else
// that is no answer is an error with its reason.
func (r *Resolver) Ask(ctx context.Context, name string, kind uint16) (Answer, error) {
	q := question{dns.CanonicalName(name), kind}
	if _, ok := dns.IsDomainName(q.name); !ok || len(q.name) > 254 {
		return Answer{}, failf(BadName, "%q is no name", name)
	}
	if answer, ok := r.recall(q); ok {
		return answer, nil
	}
	select {
	case r.exchanges <- struct{}{}:
		defer func() { <-r.exchanges }()
	case <-ctx.Done():
		return Answer{}, failf(Timeout, "waiting to ask: %w", ctx.Err())
	}
	message, err := r.exchange(ctx, q)
	if err != nil {
		return Answer{}, err
	}
	answer, keep := read(q, message)
	r.remember(q, remembered{answer, r.now().Add(keep), message.Len()})
	return answer, nil
}

// exchange asks one server after another until one gives an answer, all of them twice.
func (r *Resolver) exchange(ctx context.Context, q question) (*dns.Msg, error) {
	var first error
	for range rounds {
		for _, server := range r.servers {
			message, err := ask(ctx, server, q)
			if err == nil {
				return message, nil
			}
			if first == nil {
				first = err
			}
			if ctx.Err() != nil {
				return nil, first
			}
		}
		if reason := ReasonOf(first); reason != Timeout && reason != Unreachable {
			break // the same question gets the same answer
		}
	}
	return nil, first
}

// ask asks one server, by TCP where the answer does not fit into a packet.
func ask(ctx context.Context, server string, q question) (*dns.Msg, error) {
	query := new(dns.Msg).SetQuestion(q.name, q.kind)
	query.SetEdns0(udpSize, false)
	query.AuthenticatedData = true // asks to be told whether the answer is
	var message *dns.Msg
	for _, network := range []string{"udp", "tcp"} {
		ctx, cancel := context.WithTimeout(ctx, attempt)
		client := dns.Client{Net: network, UDPSize: udpSize, Timeout: attempt}
		var err error
		message, _, err = client.ExchangeContext(ctx, query, server)
		cancel()
		if err != nil {
			return nil, broken(err)
		}
		if !message.Truncated {
			break
		}
	}
	return message, checkAnswer(q, message)
}

// broken gives an exchange that failed its reason.
func broken(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return failf(Timeout, "the name server does not answer: %w", err)
	case errors.As(err, &network):
		return failf(Unreachable, "the name server cannot be reached: %w", err)
	}
	return failf(BadAnswer, "the name server answers garbage: %w", err)
}

// checkAnswer tells whether a message answers the question.
func checkAnswer(q question, m *dns.Msg) error {
	switch {
	case !m.Response || len(m.Question) != 1 || dns.CanonicalName(m.Question[0].Name) != q.name || m.Question[0].Qtype != q.kind || m.Truncated:
		return failf(BadAnswer, "the name server answers something else")
	case m.Len() > maxMessage:
		return failf(TooLarge, "the answer is larger than %d bytes", maxMessage)
	case m.Rcode == dns.RcodeRefused:
		return failf(Refused, "the name server refuses to answer")
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return failf(ServerFailure, "the name server answers %s", dns.RcodeToString[m.Rcode])
	case m.Rcode == dns.RcodeSuccess && !m.RecursionAvailable && !m.Authoritative && len(m.Answer) == 0:
		return failf(Refused, "the name server resolves no names for us")
	}
	return nil
}

// read takes the records that were asked for out of a message, and tells how long they hold.
func read(q question, m *dns.Msg) (a Answer, keep time.Duration) {
	a.Authenticated = m.AuthenticatedData
	name, keep := q.name, maxKeep
	for range maxAliases {
		alias := ""
		for _, record := range m.Answer {
			header := record.Header()
			if dns.CanonicalName(header.Name) != name || header.Class != dns.ClassINET {
				continue
			}
			cname, isAlias := record.(*dns.CNAME)
			switch {
			case header.Rrtype == q.kind:
				a.Records = append(a.Records, record)
			case isAlias:
				alias = dns.CanonicalName(cname.Target)
			default:
				continue
			}
			keep = min(keep, time.Duration(header.Ttl)*time.Second)
		}
		if alias == "" || len(a.Records) > 0 {
			break
		}
		name = alias
	}
	if len(a.Records) == 0 {
		keep = min(keep, keepEmpty(m))
	}
	return a, keep
}

// keepEmpty tells how long an empty answer holds, by the record that should come with it.
func keepEmpty(m *dns.Msg) time.Duration {
	for _, record := range m.Ns {
		if soa, ok := record.(*dns.SOA); ok {
			return min(time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second, maxKeepEmpty)
		}
	}
	return 0
}

func (r *Resolver) recall(q question) (Answer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.memory[q]
	return known.answer, ok && r.now().Before(known.until)
}

// remember keeps an answer. Where there is no room, those that have ended go, then any.
func (r *Resolver) remember(q question, one remembered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.forget(q)
	if !now.Before(one.until) {
		return
	}
	one.size += len(q.name) + 256 // what an entry costs besides
	for _, all := range []bool{false, true} {
		for old, known := range r.memory {
			if r.occupied+one.size <= maxRemember {
				break
			}
			if all || !now.Before(known.until) {
				r.forget(old)
			}
		}
	}
	r.memory[q] = one
	r.occupied += one.size
}

func (r *Resolver) forget(q question) {
	if old, ok := r.memory[q]; ok {
		r.occupied -= old.size
		delete(r.memory, q)
	}
}

// texts gives the TXT records at a name, each in one piece.
func (r *Resolver) texts(ctx context.Context, name string) ([]string, error) {
	answer, err := r.Ask(ctx, name, dns.TypeTXT)
	var all []string
	for _, record := range answer.Records {
		if txt, ok := record.(*dns.TXT); ok {
			all = append(all, unescape(strings.Join(txt.Txt, "")))
		}
	}
	return all, err
}

// unescape gives a text as it was before the library made it fit for zone files: what is no text becomes a question mark.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\':
			b.WriteByte(text[i])
		case i+1 < len(text) && (text[i+1] < '0' || text[i+1] > '9'):
			i++
			b.WriteByte(text[i])
		default:
			i += 3
			b.WriteByte('?')
		}
	}
	return b.String()
}

// the gives the only text that is of a kind. Its begin is the version, in any case, which ends with the text or with one
// of some characters.
func the(texts []string, version, ends string) (string, error) {
	var found []string
	for _, text := range texts {
		if len(text) >= len(version) && strings.EqualFold(text[:len(version)], version) &&
			(len(text) == len(version) || strings.ContainsRune(ends, rune(text[len(version)]))) {
			found = append(found, text)
		}
	}
	switch len(found) {
	case 0:
		return "", failf(NotFound, "there is no record that begins with %s", version)
	case 1:
		return found[0], nil
	}
	return "", failf(Several, "there are %d records that begin with %s", len(found), version)
}
