package servers

import (
	"fmt"
	"strings"
)

// ManyCommands is what a server says in INFO, as if n more commands had been called: as with modules that bring their
// own, or with a client that makes names up where the server counts them.
func ManyCommands(info string, n int) string {
	before, after, _ := strings.Cut(info, "# Commandstats\r\n")
	var text strings.Builder
	text.WriteString(before + "# Commandstats\r\n")
	for i := range n {
		fmt.Fprintf(&text, "cmdstat_made%d:calls=%d,usec=%d,usec_per_call=2.00,rejected_calls=0,failed_calls=%d\r\n", i, i+1, 2*i+2, i%3)
	}
	text.WriteString(after)
	if !strings.HasSuffix(after, "\n") {
		text.WriteString("\r\n")
	}
	text.WriteString("# Latencystats\r\n")
	for i := range n {
		fmt.Fprintf(&text, "latency_percentiles_usec_made%d:p50=1.003,p99=4.015,p99.9=%d.007\r\n", i, i%100)
	}
	return text.String()
}

// ManyHistograms is the answer to LATENCY HISTOGRAM for the same commands.
func ManyHistograms(n int) string {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", 2*n)
	for i := range n {
		text.WriteString(BulkText(fmt.Sprint("made", i)))
		fmt.Fprintf(&text, "*4\r\n$5\r\ncalls\r\n:%d\r\n$14\r\nhistogram_usec\r\n*20\r\n", i+10)
		for bucket := range 10 {
			fmt.Fprintf(&text, ":%d\r\n:%d\r\n", 1<<(bucket+i%8), (i+10)*(bucket+1)/10)
		}
	}
	return text.String()
}

// ManyClients is the answer to CLIENT LIST of a Redis 7 with n clients.
func ManyClients(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "id=%d addr=10.%d.%d.%d:%d laddr=10.0.0.1:6379 fd=%d name=worker-%d age=%d idle=%d flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 "+
			"qbuf=%d qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem=%d tot-mem=22426 events=r cmd=get user=default redir=-1 resp=2\n",
			i+3, i>>16&255, i>>8&255, i&255, 1024+i%60000, i+8, i%50, i%100000, i%1000, i%100, i%7*100)
	}
	return BulkText(text.String())
}
