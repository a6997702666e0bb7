package main

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/queue"
)

// How often a queue is looked at, which costs a server with much mail something, and for how long at most.
const (
	queueEvery = 30 * time.Second
	queueLimit = 30 * time.Second
)

// queuePlace is where the queue of a target on this host can be read: one of them.
type queuePlace struct {
	Showq   string `yaml:"postfix_showq" help:"Path of Postfix' socket for its queue, such as /var/spool/postfix/public/showq."`
	Postfix string `yaml:"postfix_spool" help:"Folder of Postfix' queue, such as /var/spool/postfix."`
	Exim    string `yaml:"exim_spool" help:"Folder of Exim's queue, such as /var/spool/exim4."`
}

func (q *queuePlace) source() (queue.Source, error) {
	given := slices.DeleteFunc([]string{q.Showq, q.Postfix, q.Exim}, func(path string) bool { return path == "" })
	switch {
	case len(given) != 1:
		return nil, errors.New("it must have one of postfix_showq, postfix_spool, exim_spool")
	case !filepath.IsAbs(given[0]):
		return nil, errors.New("the path must begin with /")
	case q.Showq != "":
		return queue.Showq{Path: q.Showq}, nil
	case q.Postfix != "":
		return queue.PostfixSpool{Path: q.Postfix}, nil
	}
	return queue.EximSpool{Path: q.Exim}, nil
}

// queueFamilies are the metrics of queues.
type queueFamilies struct {
	messages, bytes, oldest, ages *metric.Family
	all                           []*metric.Family
}

// queues declares them once.
var queues = declareQueues()

func declareQueues() *queueFamilies {
	f := &queueFamilies{}
	add := func(name, help string) *metric.Family {
		family := &metric.Family{Name: "smtp_queue_" + name, Help: help, Labels: []string{"queue"}}
		f.all = append(f.all, family)
		return family
	}
	f.messages = add("messages", "Messages in the queue.")
	f.bytes = add("size_bytes", "Size of the messages in the queue as they are kept; of Exim's without their headers.")
	f.oldest = add("oldest_age_seconds", "Age of the oldest message in the queue; absent where there is none.")
	f.ages = add("message_age_seconds", "Ages of the messages that are in the queue now. It tells of one moment, so that rates of it mean nothing.")
	f.ages.Type = metric.Histogram
	return f
}

// queueCollector tells of a queue.
func queueCollector(source queue.Source) *collect.Collector {
	return &collect.Collector{
		Name: "queue", Help: "How much mail waits in the queues of a server on this host, for targets of the configuration.",
		Families: queues.all, Class: collect.Slow, Every: queueEvery, Apart: true,
		Run: func(ctx context.Context, _ collect.Conn, out *metric.Batch) error {
			ctx, cancel := context.WithTimeout(ctx, queueLimit)
			defer cancel()
			all, err := source.Read(ctx)
			for _, name := range slices.Sorted(maps.Keys(all)) {
				tellQueue(name, all[name], out)
			}
			return err
		},
	}
}

func tellQueue(name string, q *queue.Queue, out *metric.Batch) {
	out.Add(queues.messages, float64(q.Messages), name)
	out.Add(queues.bytes, float64(q.Bytes), name)
	if q.Messages > 0 {
		out.Add(queues.oldest, q.Oldest.Seconds(), name)
	}
	out.AddHistogram(queues.ages, &metric.HistogramValue{Bounds: queue.Bounds(), Counts: q.Ages, Sum: q.AgeSum.Seconds()}, name)
}

// examineQueue says why a queue cannot be read.
func examineQueue(ctx context.Context, source queue.Source) []app.Finding {
	if _, err := source.Read(ctx); err != nil {
		remedy := "correct the path under `queue:`"
		if fault.Of(err) == fault.Denied {
			remedy = "run the exporter in the group postdrop for postfix_showq, in that of Exim for exim_spool; postfix_spool needs the user postfix or root"
		}
		return []app.Finding{{Problem: "the queue cannot be read: " + err.Error(), Remedy: remedy}}
	}
	return nil
}
