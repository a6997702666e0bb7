package queue

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// now is when the listings of these tests were made.
var now = time.Unix(1_800_000_000, 0)

// message is one in the words of showq, with another that a newer version might add.
func message(queue string, age, size int64) string {
	return strings.Join([]string{"queue_name", queue, "queue_id", "4XyZ", "time", fmt.Sprint(now.Unix() - age), "size", fmt.Sprint(size),
		"forced_expire", "0", "future", "time", "sender", "a@b.test", "recipient", "c@d.test", "reason", "queue_name"}, "\x00") + "\x00\x00"
}

const header = "protocol\x00mail_queue_list_protocol\x00\x00"

func TestListing(t *testing.T) {
	for name, text := range map[string]string{
		"3.7": header + message("deferred", 7200, 5000) + message("deferred", 30, 100) + message("hold", 6*24*3600, 1) + "\x00",
		"3.5": message("deferred", 7200, 5000) + message("deferred", 30, 100) + message("hold", 6*24*3600, 1) + "\x00",
	} {
		queues, err := readListing(strings.NewReader(text), now)
		if err != nil {
			t.Fatal(name, err)
		}
		deferred, hold := queues["deferred"], queues["hold"]
		if deferred.Messages != 2 || deferred.Bytes != 5100 || deferred.Oldest != 2*time.Hour || deferred.AgeSum != 2*time.Hour+30*time.Second || !slices.Equal(deferred.Ages, []uint64{1, 0, 0, 0, 1, 0, 0, 0, 0}) {
			t.Errorf("%s: deferred %+v", name, deferred)
		}
		if hold.Messages != 1 || hold.Ages[8] != 1 || queues["active"].Messages != 0 || len(queues) != 5 {
			t.Errorf("%s: %+v, hold %+v", name, queues, hold)
		}
	}
}

// A listing that ends early, or is none, gives no numbers.
func TestBadListings(t *testing.T) {
	good := header + message("deferred", 7200, 5000) + message("hold", 1, 1) + "\x00"
	for end := range len(good) {
		if queues, err := readListing(strings.NewReader(good[:end]), now); err == nil {
			t.Errorf("after %d bytes: %v", end, queues)
		}
	}
	for _, text := range []string{
		"220 mail.test ESMTP\r\n", "queue_name\x00deferred\x00\x00\x00", "protocol\x00other\x00\x00\x00",
		message("own", 1, 1) + "\x00", strings.Replace(message("hold", 1, 1), "time\x001", "time\x00x", 1) + "\x00",
		message("hold", 1, -5) + "\x00", message("hold", now.Unix()+5, 1) + "\x00", header + header + "\x00",
	} {
		if queues, err := readListing(strings.NewReader(text), now); err == nil {
			t.Errorf("%q: %v", text, queues)
		}
	}
}

func FuzzListing(f *testing.F) {
	f.Add(header + message("deferred", 7200, 5000) + "\x00")
	f.Fuzz(func(t *testing.T, text string) {
		queues, err := readListing(strings.NewReader(text), now)
		if err == nil && (!strings.HasSuffix(text, "\x00") && !strings.Contains(text, "\x00\x00") && text[0] != 0 || queues.total() > int64(len(text)/20)) {
			t.Errorf("%q: %v", text, queues)
		}
	})
}

// showq serves one connection with what a function writes.
func showq(t *testing.T, write func(net.Conn)) Showq {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		write(conn)
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return Showq{path}
}

// A peer that stalls, cuts, floods or is not there: each has its kind, and its bound.
func TestHostileShowq(t *testing.T) {
	forever := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := c.Write([]byte(text)); err != nil {
					return
				}
			}
		}
	}
	for name, c := range map[string]struct {
		source Source
		want   fault.Kind
	}{
		"silent":     {showq(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }), fault.Timeout},
		"cut":        {showq(t, func(c net.Conn) { _, _ = c.Write([]byte(header + message("hold", 1, 1))) }), fault.Malformed},
		"long":       {showq(t, forever("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")), fault.Limited},
		"recipients": {showq(t, forever("recipient\x00a@b.test\x00")), fault.Timeout},
		"absent":     {Showq{t.TempDir() + "/none"}, fault.Unreachable},
		"file":       {Showq{"queue_test.go"}, fault.Unreachable},
		"no spool":   {PostfixSpool{t.TempDir()}, fault.Unreachable},
		"no exim":    {EximSpool{t.TempDir()}, fault.Unreachable},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		begun := time.Now()
		queues, err := c.source.Read(ctx)
		cancel()
		if fault.Of(err) != c.want || queues != nil || time.Since(begun) > 2*time.Second {
			t.Errorf("%s: %v, %v by %s after %v", name, queues, err, fault.Of(err), time.Since(begun))
		}
	}
}

// write makes files with folders; a name without x is not whole yet.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// The records of files as Postfix writes them, in hashed folders, and such as it does not write.
func TestPostfixFiles(t *testing.T) {
	const head = "C\x5f           1234             700               1               0            1234               0"
	arrived := time.Now().Add(-2 * time.Hour).Unix()
	root := write(t, map[string]string{
		"maildrop/1": "", "incoming/2": "garbage", "active/A/3": head + fmt.Sprintf("T\x11%d 12345A", arrived),
		"deferred/B/C/4": head + "T\xff\xff\xff\xff\xff\xff", "hold/5": "T\x051 2 3", "corrupt/6": head + "T",
	})
	if err := os.Chmod(root+"/incoming/2", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", root+"/hold/link"); err != nil {
		t.Fatal(err)
	}
	queues, err := PostfixSpool{root}.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, messages := range map[string]int64{"maildrop": 1, "incoming": 0, "active": 1, "deferred": 1, "hold": 1, "corrupt": 1} {
		if queues[name].Messages != messages {
			t.Errorf("%s: %+v", name, queues[name])
		}
	}
	if a := queues["active"]; a.Bytes != 1234 || a.Oldest.Round(time.Minute) != 2*time.Hour {
		t.Errorf("active: %+v", a)
	}
	if hold := queues["hold"]; hold.Oldest < 50*365*24*time.Hour {
		t.Errorf("hold: %+v", hold)
	}
}

// Envelopes as Exim writes them, split into folders, in a named queue, vanishing, and broken.
func TestEximFiles(t *testing.T) {
	envelope := func(age int64, flags string) string {
		return fmt.Sprintf("1u0-00-00-H\nroot 0 0\n<a@b.test>\n%d 0\n-received_time_usec .5\n%sXX\n1\nc@d.test\n\n", time.Now().Unix()-age, flags)
	}
	files := map[string]string{
		"input/1u0-00-00-H": envelope(10, ""), "input/1u0-00-00-D": "1234567890", "input/1u0-00-00-J": "x",
		"input/a/1u0-0a-00-H": envelope(7200, "-frozen 1\n"), "input/a/1u0-0a-00-D": "12345",
		"slow/input/1u1-00-00-H": envelope(100, "-ident x\n"), "slow/input/1u1-00-00-D": "123",
		"input/gone-H": envelope(1, ""), "input/begun-H": "begun-H\n", "msglog/1u0-00-00": "x",
	}
	queues, err := EximSpool{write(t, files)}.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	queued, frozen := queues["queued"], queues["frozen"]
	if queued.Messages != 2 || queued.Bytes != 13 || frozen.Messages != 1 || frozen.Bytes != 5 || frozen.Oldest.Round(time.Minute) != 2*time.Hour {
		t.Errorf("queued %+v, frozen %+v", queued, frozen)
	}
	files["input/bad-H"] = "a\nb\nc\nnever\n-x\nXX\n"
	if queues, err := (EximSpool{write(t, files)}).Read(t.Context()); fault.Of(err) != fault.Malformed {
		t.Errorf("%v, %v", queues, err)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("C\x05   12T\x0510 20"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if size, arrived := readRecords(text); size < -1 || !arrived.IsZero() && arrived.Unix() <= 0 {
			t.Errorf("%d, %v", size, arrived)
		}
	})
}

// BenchmarkListing reads a listing of a hundred thousand messages.
func BenchmarkListing(b *testing.B) {
	text := header + strings.Repeat(message("deferred", 7200, 5000), 100_000) + "\x00"
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if queues, err := readListing(strings.NewReader(text), now); err != nil || queues.total() != 100_000 {
			b.Fatal(queues, err)
		}
	}
}

// BenchmarkSpool looks into ten thousand files of a spool.
func BenchmarkSpool(b *testing.B) {
	root := b.TempDir()
	for _, name := range []string{"maildrop", "incoming", "active", "deferred", "hold", "corrupt"} {
		if err := os.MkdirAll(root+"/"+name, 0o700); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 10_000 {
		if err := os.WriteFile(fmt.Sprint(root, "/deferred/", i), []byte("C\x041234T\x0a1790000000"), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if queues, err := (PostfixSpool{root}).Read(b.Context()); err != nil || queues.total() != 10_000 {
			b.Fatal(queues, err)
		}
	}
}
