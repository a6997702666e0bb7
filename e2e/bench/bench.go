// Package bench is what the programs that measure exporters have in common: how one begins and ends, how a page is asked
// for as Prometheus does, a load of many targets, and how figures and aims are printed, as Markdown.
package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Sharing is how long one of our exporters shows the same answer to all who ask, with some margin.
const Sharing = 600 * time.Millisecond

// Main runs a program that measures, until it is interrupted or its patience ends.
func Main(name string, patience time.Duration, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Page is an answer of an exporter.
type Page struct {
	Code int
	Body []byte // unpacked
	Wire int    // bytes on the line
	Took time.Duration
}

// Get asks for a page as Prometheus does, which would wait for so long.
func Get(ctx context.Context, client *http.Client, url string, wait time.Duration) (Page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return Page{}, err
	}
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	request.Header.Set("Accept-Encoding", "gzip")
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(wait.Seconds()))
	began := time.Now()
	answer, err := client.Do(request)
	if err != nil {
		return Page{}, err
	}
	defer answer.Body.Close()
	wire := &counter{from: answer.Body}
	var body io.Reader = wire
	if answer.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(wire); err != nil {
			return Page{}, err
		}
	}
	page := Page{Code: answer.StatusCode}
	page.Body, err = io.ReadAll(body)
	page.Wire, page.Took = wire.read, time.Since(began)
	return page, err
}

// counter counts what is read.
type counter struct {
	from io.Reader
	read int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.read += n
	return n, err
}

// Milliseconds gives a time as a number.
func Milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// Quantile gives a quantile in milliseconds, 0 of nothing.
func Quantile(all []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted) == 0 {
		return 0
	}
	return Milliseconds(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)])
}

// Median gives the median in milliseconds, 0 of nothing.
func Median(all []time.Duration) float64 { return Quantile(all, 0.5) }

// Aim is something to stay below.
type Aim struct {
	What            string
	Limit, Measured float64
}

// ReportAims tells which aims are met.
func ReportAims(out io.Writer, all []Aim) {
	for _, a := range all {
		verdict := "met"
		if a.Measured > a.Limit {
			verdict = "MISSED"
		}
		fmt.Fprintf(out, "- %s: at most %.4g, measured %.4g: %s\n", a.What, a.Limit, a.Measured, verdict)
	}
}

// Row is one figure of every subject. Format takes one float64.
type Row[S any] struct {
	Name, Format string
	Value        func(S) float64
	Skip         func(S) bool // nil, or which subjects do not have it
}

// Table prints the rows with a column for each subject.
func Table[S any](out io.Writer, subjects []S, name func(S) string, rows []Row[S]) {
	fmt.Fprint(out, "|")
	for _, s := range subjects {
		fmt.Fprintf(out, " | %s", name(s))
	}
	fmt.Fprint(out, " |\n| --- |")
	for range subjects {
		fmt.Fprint(out, " ---: |")
	}
	fmt.Fprintln(out)
	for _, row := range rows {
		fmt.Fprintf(out, "| %s", row.Name)
		for _, s := range subjects {
			if row.Skip != nil && row.Skip(s) {
				fmt.Fprint(out, " | ")
				continue
			}
			fmt.Fprintf(out, " | "+row.Format, row.Value(s))
		}
		fmt.Fprintln(out, " |")
	}
	fmt.Fprintln(out)
}
