package dnscheck

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// nameServer is a server in this process that speaks DNS over UDP and TCP. It answers from records as they are written
// in zone files, with the aliases of a name before what is at its end. A record "name FAIL rcode" has all questions for
// the name answered with that code, and "name SIGNED" marks an answer as authenticated.
type nameServer struct {
	addr    string
	records map[string][]dns.RR
	codes   map[string]int
	signed  map[string]bool
	asked   atomic.Int64
}

func newNameServer(t *testing.T, records ...string) *nameServer {
	t.Helper()
	s := &nameServer{records: map[string][]dns.RR{}, codes: map[string]int{}, signed: map[string]bool{}}
	for _, text := range records {
		words := strings.Fields(text)
		switch name := dns.CanonicalName(words[0]); words[1] {
		case "FAIL":
			s.codes[name] = dns.StringToRcode[words[2]]
		case "SIGNED":
			s.signed[name] = true
		default:
			record, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(text, err)
			}
			s.records[name] = append(s.records[name], record)
		}
	}
	s.addr = serve(t, s.answer)
	return s
}

// serve runs a handler on a port of UDP and TCP.
func serve(t *testing.T, handler func(dns.ResponseWriter, *dns.Msg)) string {
	t.Helper()
	var packets net.PacketConn
	var listener net.Listener
	for range 20 { // the port of the one may be taken for the other
		var err error
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if listener, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			break
		}
		_ = packets.Close()
	}
	if listener == nil {
		t.Fatal("no free port")
	}
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		server.Handler = dns.HandlerFunc(handler)
		ready, done := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(ready) }
		go func() { defer close(done); _ = server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { _ = server.Shutdown(); <-done })
	}
	return packets.LocalAddr().String()
}

func (s *nameServer) answer(w dns.ResponseWriter, q *dns.Msg) {
	s.asked.Add(1)
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name := dns.CanonicalName(q.Question[0].Name)
	m.AuthenticatedData = s.signed[name]
	m.Rcode = s.codes[name]
	if s.records[name] == nil && m.Rcode == 0 {
		m.Rcode = dns.RcodeNameError
	}
	for range maxAliases + 2 {
		alias := ""
		for _, record := range s.records[name] {
			if cname, ok := record.(*dns.CNAME); ok && q.Question[0].Qtype != dns.TypeCNAME {
				alias = dns.CanonicalName(cname.Target)
			} else if record.Header().Rrtype != q.Question[0].Qtype {
				continue
			}
			m.Answer = append(m.Answer, record)
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if len(m.Answer) == 0 {
		soa, err := dns.NewRR("test. 60 SOA ns.test. root.test. 1 1 1 1 60")
		if err != nil {
			panic(err)
		}
		m.Ns = []dns.RR{soa}
	}
	size := 512
	if edns := q.IsEdns0(); edns != nil {
		size = int(edns.UDPSize())
	}
	if w.LocalAddr().Network() == "udp" {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}
