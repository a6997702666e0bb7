package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"hash/fnv"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
)

// catalogue lists all collectors that there are.
func catalogue() collect.Catalogue { return (&driver{}).collectors() }

// collectors lists those of a target.
func (d *driver) collectors() collect.Catalogue {
	all := collect.Catalogue{
		d.reading("probe", "What the dialogue with the server showed, phase by phase.", schema.all, d.tell),
		d.reading("blackbox", "The same under the names of blackbox_exporter; on /probe only.", blackbox.all, tellCompatible),
	}
	if d.module != nil && d.module.DNS != nil {
		all = append(all, d.dnsCollector())
	}
	return all
}

// reading is a collector of what a look brought.
func (d *driver) reading(name, help string, families []*metric.Family, tell func(*found, *metric.Batch)) *collect.Collector {
	return &collect.Collector{
		Name: name, Help: help, Families: families,
		Ask: func(collect.Identity) []collect.Question { return []collect.Question{{Text: askFound}} },
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			f, ok := answer.(*found)
			if !ok {
				return fault.New(fault.Internal, "no look answers")
			}
			tell(f, out)
			return nil
		},
	}
}

// tell says what was found.
func (d *driver) tell(f *found, out *metric.Batch) {
	out.Add(schema.timeout, f.timeout.Seconds())
	for _, h := range f.hosts {
		if h.mx != "" {
			out.Label(metric.Label{Name: "mx", Value: h.mx})
		}
		tellHost(h, d.module, out)
	}
	out.Label()
	if d.history != nil {
		d.history.tell(out)
	}
}

func tellHost(h host, m *module, out *metric.Batch) {
	r := h.report
	out.Add(schema.success, metric.Truth(r.OK()))
	out.Add(schema.duration, r.Took.Seconds())
	for _, f := range []*dialogue.Failure{r.Failure, r.Farewell} {
		if f != nil {
			out.Add(schema.failure, 1, string(f.Phase), string(f.Reason))
		}
	}
	for _, step := range r.Steps {
		tellStep(step, out)
	}
	if h.family > 0 {
		out.Add(schema.ipProtocol, float64(h.family))
	}
	out.Add(schema.received, float64(r.BytesReceived))
	out.Add(schema.sent, float64(r.BytesSent))
	out.Add(schema.turnArounds, float64(r.TurnArounds))
	if m.Message != nil && m.Until == dialogue.Data && !r.Unsure {
		out.Add(schema.accepted, metric.Truth(r.Sent))
	}
	if r.Relay != 0 && r.Relay != 530 && r.Relay != 421 { // which say nothing about relaying
		out.Add(schema.relayOpen, metric.Truth(r.Relay/100 == 2))
	}
	if r.Hello != nil {
		tellHello(r.Hello, out)
	}
	if slices.ContainsFunc(r.Steps, func(s dialogue.Step) bool { return s.Code > 0 }) {
		out.Add(schema.bareLF, metric.Truth(r.BareLF))
	}
	if _, greeted := r.Step(dialogue.Banner); greeted || r.TLS != nil {
		out.Add(schema.tls, metric.Truth(r.TLS != nil))
	}
	if r.TLS != nil {
		tellTLS(r.TLS, out)
	}
}

func tellStep(step dialogue.Step, out *metric.Batch) {
	phase := string(step.Phase)
	out.Add(schema.phaseSuccess, metric.Truth(step.OK), phase)
	if !step.Spared {
		out.Add(schema.phaseDuration, step.Took.Seconds(), phase)
	}
	if step.Phase == dialogue.Auth && (step.Spared || step.Code > 0) {
		out.Add(schema.loginTried, metric.Truth(!step.Spared))
	}
	if step.Code > 0 {
		out.Add(schema.code, float64(step.Code), phase)
	}
	if e := step.Enhanced; e.Class > 0 {
		out.Add(schema.enhanced, float64(e.Class), phase, "class")
		out.Add(schema.enhanced, float64(e.Subject), phase, "subject")
		out.Add(schema.enhanced, float64(e.Detail), phase, "detail")
	}
}

func tellHello(h *dialogue.Hello, out *metric.Batch) {
	unknown := 0
	for _, extension := range h.Extensions {
		if wellKnown[extension] {
			out.Add(schema.extension, 1, extension)
		} else {
			unknown++
		}
	}
	out.Add(schema.unknownExtensions, float64(unknown))
	if h.Size > 0 {
		out.Add(schema.maxSize, float64(h.Size))
	}
	for _, mechanism := range h.Auth {
		if wellKnownMechanisms[mechanism] {
			out.Add(schema.mechanism, 1, mechanism)
		}
	}
}

func tellTLS(s *dialogue.Secure, out *metric.Batch) {
	out.Add(schema.tlsInfo, 1, tls.VersionName(s.State.Version), tls.CipherSuiteName(s.State.CipherSuite))
	out.Add(schema.verified, metric.Truth(s.Verified))
	if !s.Verified {
		out.Add(schema.tlsProblem, 1, string(s.Problem))
	}
	out.Add(schema.stapled, metric.Truth(s.Stapled))
	out.Add(schema.certificates, float64(len(s.State.PeerCertificates)))
	if len(s.State.PeerCertificates) > 0 {
		out.Add(schema.expiry, float64(s.State.PeerCertificates[0].NotAfter.Unix()), "leaf")
		out.Add(schema.expiry, float64(s.Earliest().Unix()), "earliest")
	}
}

// tellCompatible says it as blackbox_exporter does. Of several hosts, those facts that hold for all are told.
func tellCompatible(f *found, out *metric.Batch) {
	out.Add(blackbox.success, metric.Truth(f.ok()))
	out.Add(blackbox.duration, f.took.Seconds())
	out.Add(blackbox.timeout, f.timeout.Seconds())
	refused, earliest := false, time.Time{}
	for _, h := range f.hosts {
		refused = refused || h.report.Failure != nil && h.report.Failure.Code > 0
		if s := h.report.TLS; s != nil && (earliest.IsZero() || s.Earliest().Before(earliest)) {
			earliest = s.Earliest()
		}
	}
	out.Add(blackbox.regex, metric.Truth(refused))
	if !earliest.IsZero() {
		out.Add(blackbox.earliest, float64(earliest.Unix()))
	}
	if len(f.hosts) == 1 {
		tellOneCompatible(f.hosts[0], out)
	}
}

func tellOneCompatible(h host, out *metric.Batch) {
	step, _ := h.report.Step(dialogue.DNS)
	out.Add(blackbox.dns, step.Took.Seconds())
	if h.family > 0 {
		out.Add(blackbox.ipProtocol, float64(h.family))
		address, _, _ := net.SplitHostPort(h.report.RemoteAddress)
		if hash := fnv.New32a(); address != "" {
			_, _ = hash.Write(net.ParseIP(address)) // a hash never fails
			out.Add(blackbox.ipHash, float64(hash.Sum32()))
		}
	}
	s := h.report.TLS
	if s == nil || len(s.State.PeerCertificates) == 0 {
		return
	}
	out.Add(blackbox.tlsVersion, 1, tls.VersionName(s.State.Version))
	leaf := s.State.PeerCertificates[0]
	fingerprint := sha256.Sum256(leaf.Raw)
	out.Add(blackbox.chainInfo, 1, hex.EncodeToString(fingerprint[:]), leaf.Subject.String(), leaf.Issuer.String(), strings.Join(leaf.DNSNames, ","), leaf.SerialNumber.Text(16))
	if last := lastChainEnd(s); !last.IsZero() {
		out.Add(blackbox.chainExpiry, float64(last.Unix()))
	}
}

// lastChainEnd gives the end of the verified chain that ends last; a chain ends with its first certificate that ends.
func lastChainEnd(s *dialogue.Secure) (last time.Time) {
	for _, chain := range s.Chains {
		end := chain[0].NotAfter
		for _, certificate := range chain {
			if certificate.NotAfter.Before(end) {
				end = certificate.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}

// history is what all looks at a target of the configuration showed.
type history struct {
	mu       sync.Mutex
	probes   float64
	failures map[[2]string]float64
	phases   map[dialogue.Phase]*metric.Recorder
}

func newHistory() *history {
	return &history{failures: map[[2]string]float64{}, phases: map[dialogue.Phase]*metric.Recorder{}}
}

// buckets suit phases from one on the same host to one that a tarpit delays.
func buckets() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

func (h *history) add(f *found) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probes++
	for _, host := range f.hosts {
		for _, failure := range []*dialogue.Failure{host.report.Failure, host.report.Farewell} {
			if failure != nil {
				h.failures[[2]string{string(failure.Phase), string(failure.Reason)}]++
			}
		}
		for _, step := range host.report.Steps {
			if step.Spared {
				continue
			}
			if h.phases[step.Phase] == nil {
				h.phases[step.Phase] = metric.NewRecorder(buckets())
			}
			h.phases[step.Phase].Observe(step.Took.Seconds())
		}
	}
}

func (h *history) tell(out *metric.Batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out.Add(schema.probes, h.probes)
	for _, phase := range dialogue.Phases() {
		for _, reason := range dialogue.Reasons() {
			if n := h.failures[[2]string{string(phase), string(reason)}]; n > 0 {
				out.Add(schema.failures, n, string(phase), string(reason))
			}
		}
		if recorder := h.phases[phase]; recorder != nil {
			out.AddHistogram(schema.phaseDurations, recorder.Value(), string(phase))
		}
	}
}
