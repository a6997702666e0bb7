package metric

import (
	dto "github.com/prometheus/client_model/go"
)

// SummaryValue is a summary at one moment: of how many observations, what they come to, and the quantiles that somebody
// else has made of them.
type SummaryValue struct {
	Count     uint64
	Sum       float64
	Quantiles []Quantile
}

// Quantile is the value that a part of the observations does not exceed.
type Quantile struct{ Rank, Value float64 }

func (s *SummaryValue) proto() *dto.Summary {
	out := &dto.Summary{SampleCount: &s.Count, SampleSum: &s.Sum}
	for i := range s.Quantiles {
		out.Quantile = append(out.Quantile, &dto.Quantile{Quantile: &s.Quantiles[i].Rank, Value: &s.Quantiles[i].Value})
	}
	return out
}
