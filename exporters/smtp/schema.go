package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// families are all metrics of a probe. Where the target is a domain, those of a host have the label mx, too.
type families struct {
	success, duration, timeout         *metric.Family
	phaseSuccess, phaseDuration        *metric.Family
	code, enhanced                     *metric.Family
	failure                            *metric.Family
	extension, unknownExtensions       *metric.Family
	maxSize, mechanism                 *metric.Family
	tls, tlsInfo, verified, tlsProblem *metric.Family
	expiry, stapled, certificates      *metric.Family
	ipProtocol                         *metric.Family
	received, sent, turnArounds        *metric.Family
	accepted, relayOpen                *metric.Family
	loginTried, bareLF                 *metric.Family
	phaseDurations, probes, failures   *metric.Family
	all                                []*metric.Family
}

// schema declares them once.
var schema = declare()

func declare() *families {
	f := &families{}
	gauge := func(name, help string, labels ...string) *metric.Family {
		family := &metric.Family{Name: "smtp_" + name, Help: help, Labels: labels}
		f.all = append(f.all, family)
		return family
	}
	f.success = gauge("probe_success", "Whether the server did all that the module wants (1) or not (0). A QUIT without an answer does not count.")
	f.duration = gauge("probe_duration_seconds", "Time from the look-up of the name to the verdict. The QUIT after it does not count.")
	f.timeout = gauge("probe_timeout_seconds", "Longest time that the probe might have taken.")
	f.phaseSuccess = gauge("probe_phase_success", "Whether the phase succeeded (1) or not (0); absent where the probe did not come to it.", "phase")
	f.phaseDuration = gauge("probe_phase_duration_seconds", "Time that the phase took. Where commands travel together, that of each begins with the answer before. Absent for a login that was spared.", "phase")
	f.code = gauge("probe_reply_code", "Code of the last reply in the phase; absent where none came.", "phase")
	f.enhanced = gauge("probe_enhanced_code", "Parts of the status code by RFC 3463 in the last reply of the phase, such as 4, 7 and 1 of 4.7.1; absent where there was none.", "phase", "part")
	f.failure = gauge("probe_failure_info", "Where and why the probe failed; absent on success. The phase quit does not make the probe fail.", "phase", "reason")
	f.extension = gauge("probe_extension_info", "Extensions that the server offers in its last answer to EHLO, as far as they are well known.", "extension")
	f.unknownExtensions = gauge("probe_unknown_extensions", "Extensions that the server offers and that are not well known.")
	f.maxSize = gauge("probe_max_message_size_bytes", "Largest message that the server takes; absent where it does not say or has no limit.")
	f.mechanism = gauge("probe_auth_mechanism_info", "Mechanisms of authentication that the server offers in its last answer to EHLO, as far as they are well known.", "mechanism")
	f.tls = gauge("probe_tls", "Whether the dialogue came to TLS (1) or not (0).")
	f.tlsInfo = gauge("probe_tls_info", "Version and cipher suite of TLS.", "version", "cipher")
	f.verified = gauge("probe_tls_verified", "Whether the certificate verifies, for the name too (1), or not (0).")
	f.tlsProblem = gauge("probe_tls_problem_info", "Why the certificate does not verify; absent where it does.", "reason")
	f.expiry = gauge("probe_certificate_expiry_timestamp_seconds", "When the certificate ends: the server's own (leaf), and the one that ends first of all that it sent (earliest).", "certificate")
	f.stapled = gauge("probe_ocsp_stapled", "Whether an OCSP answer came with the certificate (1) or not (0).")
	f.certificates = gauge("probe_certificates", "Number of certificates that the server sent.")
	f.ipProtocol = gauge("probe_ip_protocol", "Family of the address that was used: 4 or 6.")
	f.received = gauge("probe_received_bytes", "Bytes that came from the server, those of TLS among them.")
	f.sent = gauge("probe_sent_bytes", "Bytes that went to the server, those of TLS among them.")
	f.turnArounds = gauge("probe_turnarounds", "Times that we waited for the server after having spoken, up to the verdict. The QUIT after it does not count.")
	f.accepted = gauge("probe_message_accepted", "Whether the server has taken responsibility for the message (1) or not (0); absent where none was to be sent.")
	f.relayOpen = gauge("probe_relay_open", "Whether the server would take mail for a foreign domain (1) or not (0); absent where it was not asked or did not answer to the point.")
	f.loginTried = gauge("probe_auth_tried", "Whether the login was tried (1), or spared and told as refused because the server had refused the same credentials three times in a row (0); absent where it came to neither.")
	f.bareLF = gauge("probe_bare_line_feeds", "Whether lines of the server's replies end without a carriage return, against RFC 5321 (1), or all with one (0); absent where no reply came.")
	f.phaseDurations = gauge("phase_duration_seconds", "Times that the phases took over the life of the exporter, for targets of the configuration.", "phase")
	f.phaseDurations.Type = metric.Histogram
	f.probes = gauge("probes_total", "Probes of the target, for targets of the configuration.")
	f.failures = gauge("probe_failures_total", "Failures of probes by phase and reason, for targets of the configuration.", "phase", "reason")
	f.probes.Type, f.failures.Type = metric.Counter, metric.Counter
	return f
}

// compatible are the metrics that users of blackbox_exporter have alerts for. They are served on /probe.
type compatible struct {
	success, duration, timeout, dns, ipProtocol, ipHash, regex *metric.Family
	earliest, chainExpiry, chainInfo, tlsVersion               *metric.Family
	all                                                        []*metric.Family
}

var blackbox = declareCompatible()

func declareCompatible() *compatible {
	c := &compatible{}
	gauge := func(name, help string, labels ...string) *metric.Family {
		family := &metric.Family{Name: "probe_" + name, Help: help, Labels: labels}
		c.all = append(c.all, family)
		return family
	}
	c.success = gauge("success", "Whether the probe succeeded (1) or not (0).")
	c.duration = gauge("duration_seconds", "Time that the probe took.")
	c.timeout = gauge("timeout_seconds", "Longest time that the probe might have taken.")
	c.dns = gauge("dns_lookup_time_seconds", "Time that the look-up of the name took; 0 for an address.")
	c.ipProtocol = gauge("ip_protocol", "Family of the address that was used: 4 or 6.")
	c.ipProtocol.Unit = ""
	c.ipHash = gauge("ip_addr_hash", "Hash of the address that was used, which tells when it changes.")
	c.regex = gauge("failed_due_to_regex", "Whether the probe failed because a reply was not the wanted one (1) or not (0).")
	c.earliest = gauge("ssl_earliest_cert_expiry", "When the first of the server's certificates ends, in Unix seconds.")
	c.earliest.Unit = "timestamp_seconds"
	c.chainExpiry = gauge("ssl_last_chain_expiry_timestamp_seconds", "When the last of the verified chains ends.")
	c.chainInfo = gauge("ssl_last_chain_info", "What the server's certificate says.", "fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber")
	c.tlsVersion = gauge("tls_version_info", "Version of TLS.", "version")
	return c
}

// wellKnown are the extensions of the registry at IANA that can be labels.
var wellKnown = set(`8BITMIME ATRN AUTH BINARYMIME BURL CHECKPOINT CHUNKING CONNEG CONPERM DELIVERBY DSN ENHANCEDSTATUSCODES ETRN EXPN
	FUTURERELEASE HELP LIMITS MT-PRIORITY MTRK NO-SOLICITING PIPELINING REQUIRETLS RRVS SIZE SMTPUTF8 STARTTLS SUBMITTER TURN UTF8SMTP VERB VRFY
	XCLIENT XFORWARD`)

// wellKnownMechanisms are those of SASL that mail servers offer.
var wellKnownMechanisms = set(`ANONYMOUS CRAM-MD5 DIGEST-MD5 EXTERNAL GSSAPI GS2-KRB5 KERBEROS_V4 LOGIN NTLM OAUTHBEARER OTP PLAIN PLAIN-CLIENTTOKEN
	SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS SCRAM-SHA-512 SCRAM-SHA-512-PLUS XOAUTH XOAUTH2`)

func set(words string) map[string]bool {
	all := map[string]bool{}
	for _, word := range strings.Fields(words) {
		all[word] = true
	}
	return all
}
