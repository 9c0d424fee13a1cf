#!/usr/bin/python3
"""Serves one queued activity of romancyd's workflows, with nothing but psycopg2 and five SQL functions.

    worker.py CONNINFO [--schema romancy] [--queue words] [--activity shout] [--lease 2] [--poll 30]

It claims a task, works on it, sends a heartbeat from a thread meanwhile, and completes it. While there is nothing to do it
waits for a notification, or for --poll seconds. Killed at any moment, its task is due again when the lease is over.
"""
import argparse
import json
import os
import select
import threading

import psycopg2
import psycopg2.extensions


def shout(words, attempt, cancelled):
    """The activity: replace it by yours. It may look at `cancelled`, and raise whatever it likes."""
    if attempt == 1 and words == "slow":
        cancelled.wait()  # longer than anybody's patience: somebody has to kill us
    return words.upper() + "!"


def connect(args):
    conn = psycopg2.connect(args.conninfo, options="-csearch_path=" + args.schema)
    conn.autocommit = True
    return conn


def call(conn, function, *values):
    with conn.cursor() as cursor:
        cursor.execute("SELECT %s(%s)" % (function, ", ".join(["%s"] * len(values))), values)
        return cursor.fetchone()[0]


def heartbeats(args, task, token, ended, cancelled):
    conn = connect(args)  # of its own: the other one may be in the middle of something
    while not ended.wait(args.lease / 3):
        if call(conn, "heartbeat_activity_task", task, token) != "ok":
            cancelled.set()  # 'cancelled' or 'lost': what we do is not wanted any more
    conn.close()


def serve(args, conn, task, token, words, attempt):
    ended, cancelled = threading.Event(), threading.Event()
    beats = threading.Thread(target=heartbeats, args=(args, task, token, ended, cancelled), daemon=True)
    beats.start()
    try:
        print("attempt", attempt, "at", words, flush=True)
        result = shout(words, attempt, cancelled)
        if not call(conn, "complete_activity_task", task, token, json.dumps(result)):
            print("too late:", words, flush=True)
    except Exception as error:  # the activity's policy says whether it is tried again
        call(conn, "fail_activity_task", task, token, type(error).__name__, str(error))
    finally:
        ended.set()
        beats.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("conninfo")
    parser.add_argument("--schema", default="romancy")
    parser.add_argument("--queue", default="words")
    parser.add_argument("--activity", default="shout")
    parser.add_argument("--lease", type=float, default=2)
    parser.add_argument("--poll", type=float, default=30)
    args = parser.parse_args()
    conn = connect(args)
    with conn.cursor() as cursor:
        cursor.execute('LISTEN "%s_activity_task"' % args.schema)
    print("ready", flush=True)
    while True:
        with conn.cursor() as cursor:
            cursor.execute("SELECT task_id, token, input, attempt FROM claim_activity_tasks(%s, %s, 1, %s * interval '1 s', %s)",
                           (args.queue, "python %d" % os.getpid(), args.lease, [args.activity]))
            claimed = cursor.fetchone()
        if claimed:
            serve(args, conn, *claimed)
            continue
        select.select([conn], [], [], args.poll)  # a hint, or the time is over
        conn.poll()
        conn.notifies.clear()


if __name__ == "__main__":
    main()
