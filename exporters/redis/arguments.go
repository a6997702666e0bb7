package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// peerArguments rewrites arguments as redis_exporter takes them: with one dash, with =true or =false after those that are yes
// or no, with values that begin with a dash or a sign that means something here, and more than once, when the last one counts.
// Its flags for the log become those of the suite, also where the environment has them.
func peerArguments(args []string) []string {
	known := knownFlags()
	var all []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			all = append(all, args[i:]...)
			break
		}
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || len(name) < 2 { // no flag, or a short one
			all = append(all, arg)
			continue
		}
		kind := known[name]
		if kind == takesValue && !given && i+1 < len(args) {
			i++
			value, given = args[i], true
		}
		if kind == takesValue || kind == yesOrNo {
			all = slices.DeleteFunc(all, func(earlier string) bool { return isFlag(earlier, name) })
		}
		all = append(all, peerFlag(name, value, given, kind))
	}
	return logArguments(all)
}

// peerFlag gives a flag of redis_exporter as kingpin takes it.
func peerFlag(name, value string, given bool, kind flagKind) string {
	on, err := strconv.ParseBool(value)
	switch {
	case kind == yesOrNo && given && err == nil && on:
		return "--" + name
	case kind == yesOrNo && given && err == nil:
		return "--no-" + name
	case given:
		return "--" + name + "=" + value
	}
	return "--" + name
}

// isFlag tells whether an argument is a flag, or its opposite.
func isFlag(arg, name string) bool {
	given, _, _ := strings.Cut(arg, "=")
	return given == "--"+name || given == "--no-"+name
}

// logArguments makes the suite's flags for the log of redis_exporter's, given as arguments or by the environment. Those of
// the suite come first, and debug comes before a level.
func logArguments(args []string) []string {
	level, format := os.Getenv("REDIS_EXPORTER_LOG_LEVEL"), os.Getenv("REDIS_EXPORTER_LOG_FORMAT")
	debug, _ := strconv.ParseBool(os.Getenv("REDIS_EXPORTER_DEBUG"))
	var own, others []string
	for _, arg := range args {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "--log-level":
			level = value
		case "--log-format":
			format = value
		case "--debug", "--no-debug":
			debug = name == "--debug"
		default:
			others = append(others, arg)
		}
	}
	has := func(name string) bool {
		return slices.ContainsFunc(others, func(arg string) bool { return isFlag(arg, name) })
	}
	if debug {
		level = "debug"
	}
	if level != "" && !has("log.level") {
		own = append(own, "--log.level="+logLevel(level))
	}
	if format != "" && !has("log.format") {
		own = append(own, "--log.format="+logFormat(format))
	}
	return append(own, others...)
}

// logLevel is the suite's word for a level. redis_exporter takes what it does not know for info.
func logLevel(level string) string {
	switch level = strings.ToLower(level); level {
	case "warning":
		return "warn"
	case "debug", "warn", "error":
		return level
	}
	return "info"
}

func logFormat(format string) string {
	if strings.EqualFold(format, "json") {
		return "json"
	}
	return "logfmt"
}

// checkEnvironment reports a variable that is neither yes nor no, or no number. redis_exporter takes what it has without the
// variable then, which may be what somebody wanted to switch off.
func checkEnvironment() error {
	a := kingpin.New("", "")
	(&backend{}).Flags(a)
	for _, flag := range a.Model().Flags {
		given := os.Getenv(flag.Envar)
		if given == "" {
			continue
		}
		switch err := flag.Value.Set(given); {
		case err == nil:
		case flag.IsBoolFlag():
			return fmt.Errorf("the variable %s must be true or false", flag.Envar)
		default:
			return fmt.Errorf("the variable %s is not what --%s can be", flag.Envar, flag.Name)
		}
	}
	return nil
}

// flagKind is what a flag takes.
type flagKind int

const (
	unknownFlag flagKind = iota
	yesOrNo
	takesValue
	takesValues // each time one more
)

// knownFlags tells of the backend's flags, and of those for the log, what they take.
func knownFlags() map[string]flagKind {
	a := kingpin.New("", "")
	(&backend{}).Flags(a)
	known := map[string]flagKind{"log-level": takesValue, "log-format": takesValue, "debug": yesOrNo}
	for _, flag := range a.Model().Flags {
		many, _ := flag.Value.(interface{ IsCumulative() bool })
		switch {
		case flag.IsBoolFlag():
			known[flag.Name] = yesOrNo
		case many != nil && many.IsCumulative():
			known[flag.Name] = takesValues
		default:
			known[flag.Name] = takesValue
		}
	}
	return known
}
