package main

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// loadDatabase is where the load works.
const loadDatabase = "shop"

const loadSchema = `
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE orders (id bigserial PRIMARY KEY, account int NOT NULL REFERENCES accounts, amount int NOT NULL, made timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON orders (made);
INSERT INTO accounts SELECT n, 1000 FROM generate_series(1, 1000) n;`

// loadStep is what happens a few times a second: an order, a look at one customer, an
// order that is given up, and what is old is thrown away so that the table does not grow.
const loadStep = `
BEGIN;
INSERT INTO orders (account, amount) SELECT 1 + floor(random() * 1000), floor(random() * 100) FROM generate_series(1, 3);
UPDATE accounts SET balance = balance - 1 WHERE id = 1 + floor(random() * 1000)::int;
COMMIT;
SELECT sum(amount) FROM orders WHERE account = 1 + floor(random() * 1000)::int;
BEGIN;
UPDATE accounts SET balance = balance + 1 WHERE id = 1 + floor(random() * 1000)::int;
ROLLBACK;
DELETE FROM orders WHERE made < now() - interval '5 minutes';`

// startLoad keeps a database busy until the returned function is called, which waits for
// the end. While the server is down it tries again and again.
func startLoad(dsn string) func() {
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() {
		for ctx.Err() == nil {
			work(ctx, dsn)
			pause(ctx, 500*time.Millisecond)
		}
	})
	return func() {
		cancel()
		load.Wait()
	}
}

// work works on one connection until it fails: a server that is being stopped is part of the demo.
func work(ctx context.Context, dsn string) {
	connection, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for err == nil {
		_, err = connection.Exec(ctx, loadStep).ReadAll()
		pause(ctx, 250*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
