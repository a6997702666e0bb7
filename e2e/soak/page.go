package soak

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/prometheus/common/expfmt"
	prommodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// page is what a scrape brought, as Prometheus reads it.
type page struct {
	values   map[string]float64 // by series, as seriesName writes it
	counters map[string]bool    // series that never fall
}

// readPage reads a page strictly: whatever Prometheus would refuse or lose is an error.
func readPage(body []byte, contentType string) (page, error) {
	p := page{values: map[string]float64{}, counters: map[string]bool{}}
	if strings.HasPrefix(contentType, "text/plain") {
		parser := expfmt.NewTextParser(prommodel.UTF8Validation) // which minds what Prometheus' own parser lets pass
		if _, err := parser.TextToMetricFamilies(strings.NewReader(string(body))); err != nil {
			return p, err
		}
	}
	parser, err := textparse.New(body, contentType, labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		return p, err
	}
	seen := make(map[uint64]bool)
	kinds := map[string]prommodel.MetricType{}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		switch entry {
		case textparse.EntryType:
			name, kind := parser.Type()
			kinds[string(name)] = kind
		case textparse.EntrySeries:
			if err := p.add(parser, kinds, seen); err != nil {
				return p, err
			}
		}
	}
}

func (p *page) add(parser textparse.Parser, kinds map[string]prommodel.MetricType, seen map[uint64]bool) error {
	series, _, value := parser.Series()
	var set labels.Labels
	parser.Labels(&set)
	hash := set.Hash()
	if seen[hash] {
		return fmt.Errorf("%s is there twice", series)
	}
	seen[hash] = true
	text := seriesName(set)
	p.values[text] = value
	name := set.Get(prommodel.MetricNameLabel)
	if kinds[name] == prommodel.MetricTypeCounter || kinds[strings.TrimSuffix(name, "_total")] == prommodel.MetricTypeCounter {
		p.counters[text] = true
	}
	for _, suffix := range []string{"_bucket", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && kinds[base] == prommodel.MetricTypeHistogram {
			p.counters[text] = true
		}
	}
	return nil
}

// seriesName writes a series as pages do, with its labels in the order of their names.
func seriesName(set labels.Labels) string {
	var pairs []string
	set.Range(func(l labels.Label) {
		if l.Name != prommodel.MetricNameLabel {
			pairs = append(pairs, l.Name+"="+strconv.Quote(l.Value))
		}
	})
	name := set.Get(prommodel.MetricNameLabel)
	if len(pairs) == 0 {
		return name
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// with gives the series of a family and their values.
func (p page) with(family string) map[string]float64 {
	found := map[string]float64{}
	for series, value := range p.values {
		if series == family || strings.HasPrefix(series, family+"{") {
			found[series] = value
		}
	}
	return found
}

// label gives the value of a label of a series as seriesName writes it, for values without quotes.
func label(series, name string) string {
	for _, before := range []string{"{", ","} {
		if _, rest, ok := strings.Cut(series, before+name+`="`); ok {
			value, _, _ := strings.Cut(rest, `"`)
			return value
		}
	}
	return ""
}
