package app

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

const (
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	writeLimit    = 10 * time.Second // for a client that does not read
	largeBuffer   = 8 << 20
)

// budget is the time a request may take: what Prometheus will wait, less a tenth or half a second so that the answer
// arrives in time, and never more than the limit.
func budget(r *http.Request, limit time.Duration) (context.Context, context.CancelFunc) {
	seconds, err := strconv.ParseFloat(r.Header.Get(timeoutHeader), 64)
	if err == nil && seconds > 0 && !math.IsInf(seconds, 0) {
		margin := min(seconds/10, 0.5)
		if wait := time.Duration((seconds - margin) * float64(time.Second)); wait > 0 && wait < limit {
			limit = wait
		}
	}
	return context.WithTimeout(r.Context(), limit)
}

// renderer writes pages in the format and compression that a client asks for, in memory that it uses again.
type renderer struct {
	buffers, gzips, zstds sync.Pool
	formats               []expfmt.Format
	turns                 chan struct{} // of those that write: each takes a megabyte, and more at once than processors are no faster
}

func newRenderer() *renderer {
	return &renderer{
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		gzips: sync.Pool{New: func() any {
			w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is a valid one
			return w
		}},
		zstds: sync.Pool{New: func() any {
			w, _ := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
			return w
		}},
		formats: expfmt.DefaultOpenMetricsAcceptedFormats(),
		turns:   make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
}

// write answers a request with a page. The page is made before the first byte is sent, so that a failure can still
// be said with a status.
func (re *renderer) write(w http.ResponseWriter, r *http.Request, page *metric.Page) {
	buffer := re.buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= largeBuffer {
			buffer.Reset()
			re.buffers.Put(buffer)
		}
	}()
	format := expfmt.NegotiateAccept(r.Header, re.formats...)
	encoding, err := re.encode(buffer, r.Header.Get("Accept-Encoding"), page, format)
	if err != nil {
		http.Error(w, "the page could not be written", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", string(format))
	header.Set("Content-Length", strconv.Itoa(buffer.Len()))
	header.Add("Vary", "Accept, Accept-Encoding")
	if encoding != "" {
		header.Set("Content-Encoding", encoding)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeLimit)) // not every writer has one
	_, _ = w.Write(buffer.Bytes())                                                 // the client is gone if this fails
}

// encode writes into memory alone, so that nobody who waits for a turn waits for a client.
func (re *renderer) encode(into *bytes.Buffer, accept string, page *metric.Page, format expfmt.Format) (string, error) {
	re.turns <- struct{}{}
	defer func() { <-re.turns }()
	switch encoding := negotiate(accept); encoding {
	case "gzip":
		w := re.gzips.Get().(*gzip.Writer)
		defer re.gzips.Put(w)
		w.Reset(into)
		if err := page.Encode(w, format); err != nil {
			return "", err
		}
		return encoding, w.Close()
	case "zstd":
		w := re.zstds.Get().(*zstd.Encoder)
		defer re.zstds.Put(w)
		w.Reset(into)
		if err := page.Encode(w, format); err != nil {
			return "", err
		}
		return encoding, w.Close()
	}
	return "", page.Encode(into, format)
}

// negotiate picks the compression: gzip before zstd unless the client prefers otherwise, since it costs less memory
// here and Prometheus reads both.
func negotiate(accept string) string {
	best, quality := "", 0.0
	for offer := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(offer, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "*" {
			name = "gzip"
		}
		q := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			q, _ = strconv.ParseFloat(text, 64)
		}
		if (name == "gzip" || name == "zstd") && (q > quality || q == quality && q > 0 && name == "gzip") {
			best, quality = name, q
		}
	}
	return best
}
