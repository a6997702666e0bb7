package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// The types whose text is neither number nor label as one would write it.
const (
	boolType        = 16
	dateType        = 1082
	timestampType   = 1114
	timestamptzType = 1184
)

// typedAnswer gives points in time as Unix seconds and truths as words, as other exporters do.
type typedAnswer struct {
	collect.Answer
	types []uint32
}

// typed looks at the types that a server's answer declares.
func typed(rows collect.Answer) collect.Answer {
	known, ok := rows.(*answer)
	if !ok {
		return rows
	}
	described := known.result.FieldDescriptions()
	types := make([]uint32, len(described))
	for i, field := range described {
		types[i] = field.DataTypeOID
	}
	return typedAnswer{rows, types}
}

// Value gives the text of a column, nil for NULL.
func (t typedAnswer) Value(i int) []byte {
	value := t.Answer.Value(i)
	if value == nil {
		return nil
	}
	switch t.types[i] {
	case boolType:
		return []byte(strconv.FormatBool(string(value) == "t"))
	case dateType, timestampType, timestamptzType:
		return unixSeconds(value)
	}
	return value
}

// unixSeconds reads a time in the style ISO; one without a zone is in UTC. What is none, such as infinity or a year
// before Christ, is left as it is.
func unixSeconds(text []byte) []byte {
	layout := "2006-01-02 15:04:05"
	switch zone := strings.LastIndexAny(string(text), "+-"); {
	case len(text) <= len("2006-01-02"):
		layout = "2006-01-02"
	case zone > len("2006-01-02"):
		layout += "-07:00:00"[:min(len(text)-zone, len("-07:00:00"))]
	}
	at, err := time.Parse(layout, string(text))
	if err != nil {
		return text
	}
	return strconv.AppendFloat(nil, float64(at.UnixMicro())/1e6, 'f', -1, 64)
}
