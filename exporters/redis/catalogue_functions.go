package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// functions reads FUNCTION STATS and FUNCTION LIST.
func functions() *collect.Collector {
	running := gauge("function_running_seconds", "How long the function that runs now has been running; absent while none runs.", "function")
	libraries := gauge("function_engine_libraries", "Libraries of functions by the engine that runs them.", "engine")
	count := gauge("function_engine_functions", "Functions by the engine that runs them.", "engine")
	inLibrary := gauge("function_library_functions", "Functions in the library.", "library", "engine")
	return &collect.Collector{
		Name: "functions", Help: "FUNCTION STATS, FUNCTION LIST: libraries of functions, and the function that runs.", Off: true,
		Families: []*metric.Family{running, libraries, count, inLibrary},
		Ask:      asks(ask("FUNCTION", "STATS"), ask("FUNCTION", "LIST")),
		Read: func(i int, answer collect.Answer, out *metric.Batch) error {
			r := answered(answer)
			if i == 1 {
				for _, library := range r.Items() {
					name, engine := library.Get("library_name").Text(), library.Get("engine").Text()
					out.Add(inLibrary, float64(len(library.Get("functions").Items())), name, engine)
				}
				return nil
			}
			script := r.Get("running_script")
			addNumber(out, running, script.Get("duration_ms"), 1e3, script.Get("name").Text())
			for engine, stats := range r.Get("engines").Pairs() {
				addNumber(out, libraries, stats.Get("libraries_count"), 1, engine)
				addNumber(out, count, stats.Get("functions_count"), 1, engine)
			}
			return nil
		},
	}
}
