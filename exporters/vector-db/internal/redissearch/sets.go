package redissearch

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

const (
	pageSize   = 256     // vectors that are asked for at once
	maxMembers = 200_000 // of a set that is gone through: their names come all at once
)

// Describe asks for all collections in one batch.
func (s *session) Describe(ctx context.Context, names []string) ([]backend.Collection, error) {
	commands := make([]command, len(names))
	for i, name := range names {
		commands[i] = command{"VINFO", name}
		if s.isIndex(name) {
			commands[i][0] = "FT.INFO"
		}
	}
	replies, err := s.ask(ctx, commands...)
	if err != nil {
		return nil, err
	}
	var all []backend.Collection
	for i, reply := range replies {
		c := backend.Collection{Name: names[i], Err: firstRefusal([]any{reply})}
		switch {
		case reply == nil || c.Err != nil && isGone(reply): // since it was listed
			continue
		case c.Err != nil:
		case commands[i][0] == "FT.INFO":
			describeIndex(&c, pairs(reply))
		default:
			describeSet(&c, pairs(reply))
		}
		all = append(all, c)
	}
	return all, nil
}

// pairs reads a list of names and values by turns.
func pairs(reply any) map[string]any {
	list, _ := reply.([]any)
	all := map[string]any{}
	for i := 0; i+1 < len(list); i += 2 {
		if name, ok := list[i].(string); ok {
			all[name] = list[i+1]
		}
	}
	return all
}

// number reads what may be an integer or the text of a number; what is neither is absent.
func number(value any) *float64 {
	switch value := value.(type) {
	case int64:
		return backend.Some(float64(value))
	case string:
		if parsed, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(parsed) && !math.IsInf(parsed, 0) {
			return &parsed
		}
	}
	return nil
}

// word reads a text.
func word(value any) string {
	text, _ := value.(string)
	return text
}

// quantizations by the words of VINFO.
var quantizations = map[string]string{"f32": "none", "int8": "int8", "bin": "binary"}

// describeSet reads VINFO. A vector set is a graph that each vector is put into when it is added, and compares by
// cosine.
func describeSet(c *backend.Collection, info map[string]any) {
	size := number(info["size"])
	if size == nil {
		c.Err = errMalformed
		return
	}
	c.Status, c.Objects, c.Exact, c.Vectors, c.Indexed = backend.OK, size, true, size, size
	space := backend.Space{
		Dimensions: number(info["vector-dim"]), Distance: backend.Cosine, Index: "hnsw",
		Quantized: quantizations[word(info["quant-type"])], Parameters: map[string]float64{},
	}
	if m := number(info["hnsw-m"]); m != nil {
		space.Parameters["m"] = *m
	}
	c.Spaces = []backend.Space{space}
}

// Storage tells what vector sets take in memory, and what the query engine says of its indexes.
func (s *session) Storage(ctx context.Context, names []string) ([]backend.Storage, error) {
	commands := make([]command, len(names))
	for i, name := range names {
		commands[i] = command{"MEMORY", "USAGE", name}
		if s.isIndex(name) {
			commands[i] = command{"FT.INFO", name}
		}
	}
	replies, err := s.ask(ctx, commands...)
	if err != nil {
		return nil, err
	}
	var all []backend.Storage
	for i, reply := range replies {
		one := backend.Storage{Name: names[i], Err: firstRefusal([]any{reply})}
		switch {
		case reply == nil || one.Err != nil && isGone(reply):
			continue
		case one.Err != nil:
		case commands[i][0] == "FT.INFO":
			one.IndexBytes = indexBytes(pairs(reply))
		default:
			one.Memory = number(reply)
		}
		all = append(all, one)
	}
	return all, nil
}

// gone is the error for what is not there.
func gone(doing string) error {
	return &fault.Error{Kind: fault.Config, Op: doing, Err: backend.ErrGone}
}

// size gives the members of a set, the mark among them.
func (s *session) size(ctx context.Context, in backend.Place) (int64, error) {
	if s.isIndex(in.Collection) {
		return 0, fault.New(fault.Unsupported, "points of an index are keys that are not looked into")
	}
	replies, err := s.all(ctx, command{"VINFO", in.Collection})
	if err != nil {
		return 0, err
	}
	if replies[0] == nil {
		return 0, gone("looking for the set")
	}
	size := number(pairs(replies[0])["size"])
	if size == nil {
		return 0, errMalformed
	}
	return int64(*size), nil
}

// A set that Create made has a member that is its mark, and no point. The place's vector names it.
func marked(in backend.Place) int64 {
	if in.Vector == "" {
		return 0
	}
	return 1
}

// Count counts the members.
func (s *session) Count(ctx context.Context, in backend.Place) (int64, error) {
	size, err := s.size(ctx, in)
	return size - marked(in), err
}

// Sample has the server choose.
func (s *session) Sample(ctx context.Context, in backend.Place, n int) ([]backend.Point, error) {
	if _, err := s.size(ctx, in); err != nil {
		return nil, err
	}
	names, err := s.members(ctx, in, int64(n)+marked(in))
	if err != nil {
		return nil, err
	}
	return s.points(ctx, in, names[:min(n, len(names))])
}

// members gives up to n different ones at random, without the mark.
func (s *session) members(ctx context.Context, in backend.Place, n int64) ([]string, error) {
	replies, err := s.all(ctx, command{"VRANDMEMBER", in.Collection, strconv.FormatInt(n, 10)})
	if err != nil {
		return nil, err
	}
	if replies[0] == nil {
		return nil, nil
	}
	names, err := listed(replies[0])
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool { return in.Vector != "" && name == in.Vector }), nil
}

// points asks for the vectors of members, as the set keeps them. Those that are gone by now are left out.
func (s *session) points(ctx context.Context, in backend.Place, names []string) ([]backend.Point, error) {
	commands := make([]command, len(names))
	for i, name := range names {
		commands[i] = command{"VEMB", in.Collection, name}
	}
	replies, err := s.all(ctx, commands...)
	if err != nil {
		return nil, err
	}
	var points []backend.Point
	for i, name := range names {
		if replies[i] == nil {
			continue
		}
		texts, err := listed(replies[i])
		if err != nil {
			return nil, err
		}
		vector := make([]float32, len(texts))
		for j, text := range texts {
			value, err := strconv.ParseFloat(text, 32)
			if err != nil {
				return nil, errMalformed
			}
			vector[j] = float32(value)
		}
		points = append(points, backend.Point{ID: name, Vector: vector})
	}
	return points, nil
}

// Search asks with the settings that the server takes by itself.
func (s *session) Search(ctx context.Context, in backend.Place, vector []float32, k int) (backend.Found, error) {
	hits, err := s.similar(ctx, in, vector, k)
	return backend.Found{Hits: hits, By: "index"}, err
}

// Exact compares with all vectors as the set keeps them, rounded where it rounds.
func (s *session) Exact(ctx context.Context, in backend.Place, vector []float32, k int) ([]backend.Hit, error) {
	return s.similar(ctx, in, vector, k, "TRUTH")
}

func (s *session) similar(ctx context.Context, in backend.Place, vector []float32, k int, more ...string) ([]backend.Hit, error) {
	if _, err := s.size(ctx, in); err != nil {
		return nil, err
	}
	count := strconv.FormatInt(int64(k)+marked(in), 10)
	question := append(command{"VSIM", in.Collection, "FP32", blob(vector), "WITHSCORES", "COUNT", count}, more...)
	replies, err := s.all(ctx, question)
	if err != nil {
		return nil, err
	}
	texts, err := listed(replies[0])
	if err != nil || len(texts)%2 != 0 {
		return nil, errMalformed
	}
	var hits []backend.Hit
	for i := 0; i < len(texts); i += 2 {
		score, err := strconv.ParseFloat(texts[i+1], 64)
		if err != nil {
			return nil, errMalformed
		}
		if in.Vector == "" || texts[i] != in.Vector {
			hits = append(hits, backend.Hit{ID: texts[i], Distance: 2 * (1 - score)}) // a score is (1 + cosine) / 2
		}
	}
	return hits[:min(k, len(hits))], nil
}

// blob writes a vector as bytes.
func blob(vector []float32) string {
	var b []byte
	for _, value := range vector {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(value))
	}
	return string(b)
}

// Scan goes through a set whose members' names can be held; there is no cursor in one.
func (s *session) Scan(ctx context.Context, in backend.Place, page func([]backend.Point) error) error {
	size, err := s.size(ctx, in)
	if err != nil {
		return err
	}
	if size > maxMembers {
		return fault.New(fault.Unsupported, "the server has no way to go through a set of that size")
	}
	names, err := s.members(ctx, in, size)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(names, pageSize) {
		points, err := s.points(ctx, in, some)
		if err == nil {
			err = page(points)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Create makes a set that holds its mark: a set without members is none. That nobody made one of the name meanwhile is
// seen by the server, which else makes nothing.
func (s *session) Create(ctx context.Context, name, mark string, dimensions int) (backend.Place, error) {
	exists := &fault.Error{Kind: fault.Config, Op: "creating", Err: backend.ErrExists}
	in := backend.Place{Collection: name, Vector: mark}
	return in, s.lines.Use(ctx, func(l *line) error {
		replies, err := l.ask(ctx, command{"WATCH", name}, command{"EXISTS", name})
		if err == nil {
			err = firstRefusal(replies)
		}
		if err != nil {
			return err
		}
		if replies[1] != int64(0) {
			_, err := l.ask(ctx, command{"UNWATCH"})
			return errors.Join(exists, err)
		}
		first := make([]float32, dimensions)
		first[0] = 1
		replies, err = l.ask(ctx, command{"MULTI"}, command{"VADD", name, "FP32", blob(first), mark, "NOQUANT"}, command{"EXEC"})
		if err == nil {
			err = firstRefusal(replies)
		}
		if err != nil {
			return err
		}
		if replies[2] == nil {
			return exists
		}
		done, _ := replies[2].([]any)
		return firstRefusal(done)
	})
}

// Marked looks for the member.
func (s *session) Marked(ctx context.Context, name, mark string) (backend.Place, bool, error) {
	in := backend.Place{Collection: name, Vector: mark}
	replies, err := s.all(ctx, command{"TYPE", name})
	switch {
	case err != nil:
		return in, false, err
	case replies[0] == "none":
		return in, false, gone("looking for the mark")
	case replies[0] != "vectorset":
		return in, false, nil
	}
	replies, err = s.all(ctx, command{"VEMB", name, mark})
	return in, err == nil && replies[0] != nil, err
}

// Write adds members, or gives those that are there another vector.
func (s *session) Write(ctx context.Context, in backend.Place, points []backend.Point) error {
	commands := make([]command, len(points))
	for i, p := range points {
		commands[i] = command{"VADD", in.Collection, "FP32", blob(p.Vector), p.ID, "NOQUANT"}
	}
	_, err := s.all(ctx, commands...)
	return err
}

// Read gets a member's vector.
func (s *session) Read(ctx context.Context, in backend.Place, id string) (backend.Point, error) {
	points, err := s.points(ctx, in, []string{id})
	if err == nil && len(points) == 0 {
		err = gone("reading")
	}
	if err != nil {
		return backend.Point{}, err
	}
	return points[0], nil
}

// Delete removes members.
func (s *session) Delete(ctx context.Context, in backend.Place, ids []string) error {
	commands := make([]command, len(ids))
	for i, id := range ids {
		commands[i] = command{"VREM", in.Collection, id}
	}
	_, err := s.all(ctx, commands...)
	return err
}

// Drop removes a set.
func (s *session) Drop(ctx context.Context, name string) error {
	_, err := s.all(ctx, command{"UNLINK", name})
	return err
}
