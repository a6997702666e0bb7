package main

import (
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// peerArguments rewrites arguments as redis_exporter takes them: with one dash, and with =true or =false after those
// that are yes or no. Its flags for the log become those of the suite, also where the environment has them.
func peerArguments(args []string) []string {
	yes := yesFlags()
	var all []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(all, args[i:]...)
		}
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || len(name) < 2 { // no flag, or a short one
			all = append(all, arg)
			continue
		}
		switch on := value != "false" && value != "0"; {
		case name == "debug" && on:
			all = append(all, "--log.level=debug")
		case name == "debug":
		case name == "log-level" || name == "log-format":
			if !given && i+1 < len(args) {
				i++
				value = args[i]
			}
			all = append(all, logFlag(name, value))
		case given && yes[name] && on:
			all = append(all, "--"+name)
		case given && yes[name]:
			all = append(all, "--no-"+name)
		default:
			all = append(all, "--"+strings.TrimLeft(arg, "-"))
		}
	}
	return append(logEnvironment(all), all...)
}

// logFlag is the suite's flag for one of redis_exporter's.
func logFlag(name, value string) string {
	value = strings.ToLower(value)
	switch {
	case name == "log-level" && value == "warning":
		value = "warn"
	case name == "log-format" && value != "json":
		value = "logfmt"
	}
	return "--" + strings.Replace(name, "-", ".", 1) + "=" + value
}

// logEnvironment gives the flags for what the environment says of the log, unless the arguments say it.
func logEnvironment(args []string) []string {
	var more []string
	has := func(name string) bool {
		return slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--"+name) })
	}
	if level := os.Getenv("REDIS_EXPORTER_LOG_LEVEL"); level != "" && !has("log.level") {
		more = append(more, logFlag("log-level", level))
	}
	if os.Getenv("REDIS_EXPORTER_DEBUG") == "true" && !has("log.level") {
		more = []string{"--log.level=debug"}
	}
	if format := os.Getenv("REDIS_EXPORTER_LOG_FORMAT"); format != "" && !has("log.format") {
		more = append(more, logFlag("log-format", format))
	}
	return more
}

// yesFlags names the flags that are yes or no.
func yesFlags() map[string]bool {
	a := kingpin.New("", "")
	(&backend{}).Flags(a)
	yes := map[string]bool{}
	for _, flag := range a.Model().Flags {
		yes[flag.Name] = flag.IsBoolFlag()
	}
	return yes
}
