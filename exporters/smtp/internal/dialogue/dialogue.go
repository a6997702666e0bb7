package dialogue

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

// farewellLimit is how long the answer to Quit is waited for where the plan has no time for it.
const farewellLimit = 2 * time.Second

// Dialogue is a dialogue under way. Open, Greet and Deliver carry it on, each if the one before succeeded; End closes it.
// It is used by one goroutine.
type Dialogue struct {
	plan     Plan
	link     *link
	conn     net.Conn // the link, or TLS on it
	in       *bufio.Reader
	report   *Report
	deadline time.Time // of the stage under way, zero where there is none
	begun    time.Time // the phase under way
	phase    Phase
	secrets  []string // that no text may show
	speaking bool     // the server may be spoken to: it has greeted us, and no answer is open
}

// Run holds a whole dialogue.
func Run(ctx context.Context, plan Plan) *Report {
	d := Start(plan)
	_ = d.Open(ctx) && d.Greet(ctx) && d.Deliver(ctx)
	return d.End(ctx)
}

// Start prepares a dialogue.
func Start(plan Plan) *Dialogue {
	return &Dialogue{plan: plan, report: &Report{}}
}

// Report gives what was found so far.
func (d *Dialogue) Report() *Report { return d.report }

// Open connects, and begins TLS where it is implicit. It tells whether the dialogue goes on, as do the other stages.
func (d *Dialogue) Open(ctx context.Context) bool {
	d.report.Begun = time.Now()
	d.deadline, _ = ctx.Deadline()
	if !d.connect(ctx) {
		return false
	}
	defer d.bind(ctx)()
	return d.plan.TLS != Implicit || d.plan.Until == Connect || d.handshake(ctx)
}

// Greet waits for the banner, greets the server and begins TLS where it is wanted and has not begun.
func (d *Dialogue) Greet(ctx context.Context) bool {
	if !d.plan.goesTo(Banner) {
		return true
	}
	defer d.bind(ctx)()
	if !d.banner() || !d.plan.goesTo(EHLO) {
		return d.report.OK()
	}
	return d.hello() && d.startTLS(ctx) && d.extensions()
}

// Deliver logs in and sends the message, as far as the plan says.
func (d *Dialogue) Deliver(ctx context.Context) bool {
	defer d.bind(ctx)()
	if d.plan.goesTo(Auth) && d.plan.Auth != nil && !d.login() {
		return false
	}
	if d.plan.goesTo(Mail) && d.plan.Relay != "" && !d.relay() {
		return false
	}
	if d.plan.goesTo(Mail) && d.plan.Message != nil {
		return d.send()
	}
	return true
}

// End says goodbye where the server can be spoken to, closes the connection and gives the report.
func (d *Dialogue) End(ctx context.Context) *Report {
	d.report.Took = time.Since(d.report.Begun)
	d.count()
	if d.conn == nil {
		return d.report
	}
	if d.speaking && ctx.Err() == nil {
		d.farewell(ctx)
	}
	_ = d.conn.Close() // everything is known by now
	turnArounds := d.report.TurnArounds
	d.count()
	d.report.TurnArounds = turnArounds
	return d.report
}

func (d *Dialogue) count() {
	if d.link != nil {
		d.report.TurnArounds, d.report.BytesReceived, d.report.BytesSent = d.link.turnArounds, d.link.received, d.link.sent
	}
}

func (d *Dialogue) farewell(ctx context.Context) {
	verdict := d.report.Failure
	defer d.bind(ctx)()
	d.enter(Quit)
	if d.plan.Timeouts[Quit] == 0 {
		d.limit(farewellLimit)
	}
	if d.say("QUIT") {
		_, _ = d.expect(Quit, 221)
	}
	d.report.Farewell, d.report.Failure = d.report.Failure, verdict
	if d.report.Farewell == verdict {
		d.report.Farewell = nil
	}
}

// bind makes the end of the context end whatever is read or written. What it gives ends that.
func (d *Dialogue) bind(ctx context.Context) func() bool {
	d.deadline, _ = ctx.Deadline()
	return context.AfterFunc(ctx, func() { _ = d.link.Conn.Close() })
}

// enter begins a phase and sets its deadline.
func (d *Dialogue) enter(phase Phase) {
	d.phase, d.begun = phase, time.Now()
	d.limit(d.plan.Timeouts[phase])
}

// limit sets how long the phase may take, within the time of the stage; 0 sets nothing but that.
func (d *Dialogue) limit(timeout time.Duration) {
	if d.link == nil {
		return
	}
	deadline := d.deadline
	if timeout > 0 {
		if own := d.begun.Add(timeout); deadline.IsZero() || own.Before(deadline) {
			deadline = own
		}
	}
	_ = d.link.SetDeadline(deadline) // fails on a closed connection alone, as will what follows
}

// leave ends the phase. A phase that is come to again adds to its step.
func (d *Dialogue) leave(ok bool, r reply) {
	took := time.Since(d.begun)
	d.begun = d.begun.Add(took)
	at := slices.IndexFunc(d.report.Steps, func(s Step) bool { return s.Phase == d.phase })
	if at < 0 {
		at = len(d.report.Steps)
		d.report.Steps = append(d.report.Steps, Step{Phase: d.phase})
	}
	step := &d.report.Steps[at]
	step.Took += took
	step.OK, step.Code, step.Enhanced = ok, r.code, r.enhanced
}

// fail ends the dialogue in the present phase.
func (d *Dialogue) fail(reason Reason, r reply, err error) bool {
	d.leave(false, r)
	d.report.Failure = &Failure{Phase: d.phase, Reason: reason, Code: r.code, Err: errors.New(d.presentable(err.Error()))}
	d.note('*', fmt.Sprintf("%s failed: %s: %v", d.phase, reason, err))
	return false
}

// lost ends the dialogue where the connection, or what came over it, is at fault.
func (d *Dialogue) lost(err error) bool {
	d.speaking = false
	reason := judgeError(err)
	if errors.Is(err, net.ErrClosed) { // by us: the context has ended
		reason = Timeout
	}
	if isAlert(err) && (d.phase == Banner || d.phase == EHLO) { // by TLS 1.3 the server looks at our side of it only now
		d.phase = TLS
	}
	return d.fail(reason, reply{}, err)
}

func (d *Dialogue) connect(ctx context.Context) bool {
	d.enter(Connect)
	if err := d.plan.Check(); err != nil {
		return d.fail(Misconfigured, reply{}, err)
	}
	if timeout := d.plan.Timeouts[Connect]; timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	dial, network := d.plan.Dial, d.plan.Network
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	if network == "" {
		network = "tcp"
	}
	conn, err := dial(ctx, network, d.plan.Address)
	if err != nil {
		if ctx.Err() != nil {
			return d.fail(Timeout, reply{}, err)
		}
		return d.fail(judgeError(err), reply{}, err)
	}
	d.link = &link{Conn: conn}
	d.conn, d.in = d.link, bufio.NewReaderSize(d.link, maxLine)
	d.report.LocalAddress, d.report.RemoteAddress = conn.LocalAddr().String(), conn.RemoteAddr().String()
	d.note('*', "connected to "+d.report.RemoteAddress)
	if err := d.proxyHeader(); err != nil {
		return d.lost(err)
	}
	d.leave(true, reply{})
	return true
}

// proxyHeader says who we are to a server that is made to stand behind a proxy.
func (d *Dialogue) proxyHeader() error {
	if d.plan.ProxyHeader == 0 {
		return nil
	}
	d.note('*', fmt.Sprintf("PROXY protocol header of version %d", d.plan.ProxyHeader))
	_, err := proxyproto.HeaderProxyFromAddrs(d.plan.ProxyHeader, d.link.LocalAddr(), d.link.RemoteAddr()).WriteTo(d.link)
	return err
}

// handshake begins TLS. The certificate is checked after it, so that it is known also where it does not verify.
func (d *Dialogue) handshake(ctx context.Context) bool {
	d.enter(TLS)
	config := &tls.Config{
		ServerName:         d.plan.ServerName,
		InsecureSkipVerify: true,             //nolint:gosec // verified below
		MinVersion:         tls.VersionTLS10, //nolint:gosec // refused below: this tells which version the server speaks
	}
	if d.plan.Client != nil {
		config.Certificates = []tls.Certificate{*d.plan.Client}
	}
	secure := tls.Client(d.link, config)
	err := secure.HandshakeContext(context.WithoutCancel(ctx)) // its end closes the connection: nobody else need watch it
	if err != nil {
		d.speaking = false
		if ctx.Err() != nil {
			return d.fail(Timeout, reply{}, err)
		}
		return d.fail(judgeHandshake(err), reply{}, err)
	}
	d.conn = secure
	d.in.Reset(secure)
	return d.secured(secure.ConnectionState())
}

// secured looks at what the handshake brought.
func (d *Dialogue) secured(state tls.ConnectionState) bool {
	now := time.Now()
	chains, problem, err := verify(state, &d.plan, now)
	s := &Secure{State: state, Chains: chains, Verified: err == nil, Problem: problem, Stapled: len(state.OCSPResponse) > 0}
	d.report.TLS = s
	d.note('*', fmt.Sprintf("%s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)))
	d.speaking = false // an unsafe connection is not used
	switch {
	case state.Version < d.plan.MinVersion:
		return d.fail(TLSVersion, reply{}, fmt.Errorf("the server speaks no newer version than %s", tls.VersionName(state.Version)))
	case err != nil && !d.plan.Unverified:
		return d.fail(problem, reply{}, err)
	case s.Earliest().Before(now.Add(d.plan.MinValidity)) && d.plan.MinValidity > 0:
		return d.fail(ExpiresSoon, reply{}, fmt.Errorf("a certificate ends at %s", s.Earliest().UTC().Format(time.RFC3339)))
	}
	if err != nil {
		d.note('*', "the certificate does not verify: "+err.Error())
	}
	d.leave(true, reply{})
	return true
}

func (d *Dialogue) banner() bool {
	d.enter(Banner)
	r, ok := d.expect(Banner, 220)
	if len(r.lines) > 0 {
		d.report.Banner = d.presentable(r.lines[0])
	}
	return ok
}

// hello greets the server and reads what it offers.
func (d *Dialogue) hello() bool {
	d.enter(EHLO)
	verb := "EHLO "
	if d.plan.LMTP {
		verb = "LHLO "
	}
	if !d.say(verb + d.plan.Hello) {
		return false
	}
	r, ok := d.expect(EHLO, 250)
	if ok && r.code == 250 {
		d.report.Hello = parseHello(r, d.report.TLS != nil)
	}
	return ok
}

// startTLS begins TLS within the dialogue, and greets the server anew: what it said before could be anybody's word.
func (d *Dialogue) startTLS(ctx context.Context) bool {
	offered := d.report.Hello.Offers("STARTTLS")
	wanted := d.plan.TLS == StartTLS || d.plan.TLS == Opportunistic && offered
	if !wanted || !d.plan.goesTo(STARTTLS) || d.report.TLS != nil {
		return true
	}
	d.enter(STARTTLS)
	switch {
	case !offered && d.report.Hello != nil && d.report.Hello.hidden():
		return d.fail(STARTTLSHidden, reply{}, errors.New("something on the way has overwritten the offer of STARTTLS"))
	case !offered:
		return d.fail(NoSTARTTLS, reply{}, errors.New("the server does not offer STARTTLS"))
	}
	if !d.say("STARTTLS") {
		return false
	}
	r, ok := d.answer()
	if !ok {
		return false
	}
	switch {
	case !slices.Contains(d.codes(STARTTLS, 220), r.code):
		return d.fail(judgeReply(STARTTLS, r), r, errors.New(r.String()))
	case d.in.Buffered() > 0: // before TLS has begun, so that nobody knows whose words they are
		d.speaking = false
		return d.fail(EarlyData, r, errors.New("the server spoke between STARTTLS and TLS"))
	}
	d.leave(true, r)
	if r.code != 220 { // a refusal was wanted
		return true
	}
	d.report.Hello = nil
	return d.handshake(ctx) && d.hello()
}

// extensions wants those that the plan requires.
func (d *Dialogue) extensions() bool {
	for _, wanted := range d.plan.Extensions {
		if !d.report.Hello.Offers(wanted) {
			d.phase = EHLO
			return d.miss(wanted)
		}
	}
	return true
}

// miss ends the dialogue for want of an extension.
func (d *Dialogue) miss(extension string) bool {
	step, _ := d.report.Step(d.phase)
	d.begun = time.Now()
	return d.fail(NoExtension, reply{code: step.Code, enhanced: step.Enhanced}, fmt.Errorf("the server does not offer %s", extension))
}
