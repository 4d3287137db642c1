using Harness.Foreign;
using IommuSim;
using Platform;
using Vcmm.Spec;

namespace Harness.Differential;

/// <summary>Runs a case on both machines and compares what can be seen: data, faults and their records, the queue.</summary>
internal sealed class CaseRunner(DifferentialBench bench, FuzzCase fuzzed)
{
    private readonly CaseResult _result = new();
    private readonly List<Pending> _pending = [];
    private readonly HashSet<ulong> _written = [];
    private int _step;
    private bool _hasMode = true;

    /// <summary>An access that was made.</summary>
    /// <param name="Access">It.</param>
    /// <param name="Step">Which step it is.</param>
    /// <param name="May">What may come of it.</param>
    /// <param name="Otherwise">What more may come of it on the other machine, for reasons that have names.</param>
    private sealed record Made(FuzzStep.Access Access, int Step, List<Expected> May, List<LaxOutcome> Otherwise)
    {
        public IEnumerable<Expected> All => May.Concat(Otherwise.Select(one => one.What));

        /// <summary>Words that it may change or tell.</summary>
        public IEnumerable<ulong> Words => All.Where(outcome => outcome.GoesOn && outcome.Address < Ground.Nowhere).Select(outcome => outcome.Address);

        /// <summary>Whether the machines need not do the same.</summary>
        public bool IsOpen => May.Count + Otherwise.Count > 1;
    }

    /// <summary>An access of which all is known but what the other machine's device read.</summary>
    /// <param name="Made">It.</param>
    /// <param name="Words">For each of all outcomes what is in memory, to be read or after a write.</param>
    /// <param name="Sight">What was seen.</param>
    /// <param name="Place">Of a read: which one of its device.</param>
    private sealed record Pending(Made Made, uint[] Words, Sight Sight, int Place);

    /// <summary>Runs it.</summary>
    /// <param name="looksAtAll">Whether all of the memory that nobody should have written is compared, too.</param>
    public CaseResult Run(bool looksAtAll)
    {
        bench.Begin(fuzzed.Caches);
        for (_step = 0; _step < fuzzed.Steps.Length && _result.Difference is null; _step++)
        {
            if (fuzzed.Steps[_step] is FuzzStep.Access) Access();
            else Do(fuzzed.Steps[_step]);
        }

        bench.Flush();
        Collect();
        if (_result.Difference is null && looksAtAll && bench.FirstUnlike() is { } unlike)
            Differ(Invariant.Isolation, $"{Ground.Describe(unlike, fuzzed.IsScalable)} differs", "only where a device may write is memory changed, and on both machines alike");
        foreach (ulong address in _written) bench.Restore(address);
        bench.End();
        return _result;
    }

    private void Do(FuzzStep step)
    {
        if (step is FuzzStep.Set set)
        {
            bench.Set(set.Address, set.Value);
            return;
        }

        bench.Flush();
        if (!_hasMode && step is not FuzzStep.SetRoot) return;
        switch (step)
        {
            case FuzzStep.Settle:
                Both(static software => software.Settle());
                bench.Oracle.Settle();
                CompareQueues();
                break;
            case FuzzStep.SetRoot root:
                Both(software => software.SetRoot(root.Value));
                bench.Oracle.SetRoot(root.Value);
                // In a mode that there is not no descriptor is valid, and all that a device can do is be blocked.
                _hasMode = (root.Value >> 10 & 3) == (fuzzed.IsScalable ? 1UL : 0);
                if (!_hasMode) break;
                Both(static software => software.Settle());
                bench.Oracle.Settle();
                CompareQueues();
                break;
            case FuzzStep.Command command:
                Both(software => software.Put(command.Words));
                Both(static software => software.Ring());
                _result.Commands++;
                CompareQueues(command.Words);
                break;
            case FuzzStep.Cover cover:
                foreach (QueueWords words in cover.Words) Both(software => software.Put(words));
                Both(static software => software.Ring());
                bench.Oracle.Settle(cover.Changed);
                _result.Commands += cover.Words.Length;
                CompareQueues();
                break;
        }
    }

    private void Both(Action<Software> action)
    {
        action(bench.Simulator.Software);
        action(bench.Other);
    }

    /// <summary>Heads and errors; a queue that has stopped is repaired, on both machines in the same way.</summary>
    private void CompareQueues(QueueWords? last = null)
    {
        (bool hasError, ulong head) = bench.Simulator.Software.Queue;
        (bool otherHasError, ulong otherHead) = bench.Other.Queue;
        if (hasError) _result.QueueErrors++;
        if ((hasError, head) != (otherHasError, otherHead))
        {
            bool isOfLast = (hasError ? head : otherHead) == bench.Other.Before(bench.Other.Tail) && (hasError ? otherHead : head) == bench.Other.Tail;
            string? name = last is { } words && hasError != otherHasError && isOfLast ? QemuDeviations.OfQueue(words, otherHasError, fuzzed.IsScalable) : null;
            if (name is null)
            {
                Differ(Invariant.Progress, $"step {_step + 1}, {fuzzed.Steps[_step]}: QEMU's queue {Words(otherHasError, otherHead)}", $"the simulator's {Words(hasError, head)}");
                return;
            }

            _result.Explain(name);
        }

        if (hasError) bench.Simulator.Software.Repair(head);
        if (otherHasError) bench.Other.Repair(otherHead);
        ulong tail = bench.Other.Tail;
        if (hasError && bench.Simulator.Software.Queue != (false, tail)) Differ(Invariant.Progress, "the simulator's queue does not go on", "it does once it is repaired");
        if (otherHasError && bench.Other.Queue != (false, tail)) Differ(Invariant.Progress, "QEMU's queue does not go on", "it does once it is repaired");
    }

    private static string Words(bool hasError, ulong head) => $"{(hasError ? "has an error" : "has no error")}, head 0x{head:x}";

    /// <summary>The accesses that follow each other, each of another device.</summary>
    private void Access()
    {
        bench.Flush();
        var batch = new List<Made>();
        for (; _step < fuzzed.Steps.Length && fuzzed.Steps[_step] is FuzzStep.Access access; _step++)
        {
            if (batch.Exists(other => other.Access.Device == access.Device)) break;
            uint source = Ground.Source(access.Device);
            List<Expected>? may = bench.Oracle.Of(source, access.Iova, access.IsWrite);
            List<LaxOutcome>? otherwise = may is null ? null : bench.Oracle.Otherwise(source, access.Iova, access.IsWrite, may);
            if (otherwise is null)
            {
                _result.Open++;
                continue;
            }

            var made = new Made(access, _step, may!, otherwise);
            if (made.All.Any(outcome => outcome.GoesOn && (!IsAlike(outcome, access) || (fuzzed.HasFirstStage && !Ground.IsPlainData(outcome.Address)))))
            {
                _result.Open++;
                continue;
            }

            // Of two accesses to one word in one batch, one of them a write, it could not be told what each did.
            if (batch.Exists(other => (access.IsWrite || other.Access.IsWrite) && other.Words.Intersect(made.Words).Any())) break;
            batch.Add(made);
        }

        _step--;
        if (batch.Count == 0) return;
        if (_pending.GroupBy(pending => pending.Made.Access.Device).Any(own => own.Count(pending => !pending.Made.Access.IsWrite) >= bench.Devices.WordsPerDevice)) Collect();
        if (_result.Difference is null) Run(batch);
    }

    private static bool IsAlike(Expected outcome, FuzzStep.Access access) =>
        access.IsWrite ? Ground.IsWritable(outcome.Address) : Ground.IsReadable(outcome.Address);

    private void Run(List<Made> batch)
    {
        (WordDmaLog[] logs, List<QemuEvent> faults) = bench.Devices.Run(
            [.. batch.Select(made => new WordDma(made.Access.Device, new(made.Access.Iova), made.Access.IsWrite ? TokenOf(made.Step) : -1))]);
        (FaultRecord otherRecord, bool otherOverflow) = bench.Other.TakeFault();
        Dictionary<ulong, uint> written = bench.ReadOther([.. batch.Where(made => made.Access.IsWrite).SelectMany(made => made.Words)]);
        for (int i = 0; i < batch.Count && _result.Difference is null; i++)
        {
            _result.Accesses++;
            if (batch[i].May.Count > 1) _result.Unsettled++;
            OnSimulator(batch[i]);
            if (_result.Difference is null) OnOther(batch[i], logs[i], written);
        }

        (FaultRecord record, bool overflow) = bench.Simulator.Software.TakeFault();
        if (_result.Difference is null) CompareRecords(batch, logs, faults, (otherRecord, otherOverflow), (record, overflow));
        foreach (Made made in batch.Where(made => made.Access.IsWrite))
        {
            // Where one machine may write and the other not, memory is made alike at once.
            if (made.IsOpen) Restore(made);
            else _written.UnionWith(made.Words);
        }
    }

    private void Restore(Made made)
    {
        foreach (ulong address in made.Words) bench.Restore(address);
    }

    private static int TokenOf(int step) => step % Ground.TokenCount;

    /// <summary>The simulator must do one of the things that the tables say.</summary>
    private void OnSimulator(Made made)
    {
        FuzzStep.Access access = made.Access;
        uint word = Ground.Token(TokenOf(made.Step));
        DmaResult result = access.IsWrite ? bench.Simulator.Write(access.Device, access.Iova, word) : bench.Simulator.Read(access.Device, access.Iova, out word);
        bool isRight = made.May.Exists(outcome => outcome.GoesOn
            ? outcome.Address >= Ground.Nowhere ? !result.Ok && result.Reason == VtdFaultReason.None : result.Ok && bench.Memory.Read32(new(outcome.Address)) == word
            : !result.Ok && result.Reason == outcome.Fault);
        if (isRight) return;
        bool isStale = made.May.Count == 1 && result.Ok;
        Differ(
            isStale ? Invariant.NoStaleAccess : Invariant.FaultExact,
            $"{Name(made.Step)}: on the simulator it {(result.Ok ? "went on" : $"was blocked by {result.Reason}")}",
            Say(made.May), made.Step);
    }

    /// <summary>What QEMU's log and memory tell at once. What was read is told later.</summary>
    private void OnOther(Made made, WordDmaLog log, Dictionary<ulong, uint> written)
    {
        FuzzStep.Access access = made.Access;
        QemuEvent? fault = log.Faults.Count == 0 ? null : log.Faults[0];
        if (fault is { } told && (log.Faults.Count > 1 || told.IsWrite != access.IsWrite || told.Address >> 12 != access.Iova >> 12))
        {
            Differ(
                Invariant.FaultExact,
                $"{Name(made.Step)}: QEMU reported {log.Faults.Count} faults, the first for a {(told.IsWrite ? "write" : "read")} of 0x{told.Address:x}", Say(made.May), made.Step);
            return;
        }

        uint[] words =
        [
            .. made.All.Select(outcome => !outcome.GoesOn || outcome.Address >= Ground.Nowhere ? 0
                : access.IsWrite ? written[outcome.Address]
                : bench.Memory.Read32(new(outcome.Address))),
        ];
        bool isWritten = access.IsWrite && words.Contains(Ground.Token(TokenOf(made.Step)));
        var sight = new Sight(fuzzed.IsScalable, access.Iova, access.IsWrite, (byte?)fault?.Value, log.IsHit, isWritten, access.IsWrite ? Ground.Token(TokenOf(made.Step)) : 0, fuzzed.HasFirstStage);
        int place = access.IsWrite ? -1 : _pending.Count(pending => pending.Made.Access.Device == access.Device && !pending.Made.Access.IsWrite);
        var pending = new Pending(made, words, sight, place);
        if (access.IsWrite) Judge(pending);
        else _pending.Add(pending);
    }

    private void Collect()
    {
        if (_pending.Count == 0) return;
        uint[][] words = bench.Devices.Collect();
        foreach (Pending pending in _pending)
        {
            if (_result.Difference is null) Judge(pending with { Sight = pending.Sight with { Word = words[pending.Made.Access.Device][pending.Place] } });
        }

        _pending.Clear();
    }

    private void Judge(Pending pending)
    {
        (Made made, uint[] words, Sight sight, _) = pending;
        for (int i = 0; i < made.May.Count; i++)
        {
            Expected right = made.May[i];
            if (!IsMet(right, sight, words[i])) continue;
            if (right.GoesOn) _result.Transfers++;
            else _result.Faults++;
            _result.Reasons[(byte)right.Fault] = _result.Reasons.GetValueOrDefault((byte)right.Fault) + 1;
            return;
        }

        foreach (Expected outcome in made.May)
        {
            if (QemuDeviations.OfAccess(outcome, sight) is not { } name) continue;
            _result.Explain(name);
            // One machine may have written and the other not.
            if (sight.IsWrite) Restore(made);
            return;
        }

        for (int i = 0; i < made.Otherwise.Count; i++)
        {
            (Expected outcome, Laxity laxity) = made.Otherwise[i];
            string? name = IsMet(outcome, sight, words[made.May.Count + i]) ? null : QemuDeviations.OfAccess(outcome, sight);
            if (name is null && !IsMet(outcome, sight, words[made.May.Count + i])) continue;
            foreach (string why in QemuDeviations.OfLaxity(laxity)) _result.Explain(why);
            if (name is not null) _result.Explain(name);
            return;
        }

        string seen = sight.Reason is { } reason ? $"was blocked by reason 0x{reason:x}"
            : sight.IsWrite ? sight.IsWritten ? "wrote" : "wrote nothing"
            : $"read 0x{sight.Word:x}";
        bool isStale = made.May is [{ GoesOn: false }] && sight.Reason is null;
        Differ(
            isStale ? Invariant.NoStaleAccess : sight.Reason is null ? Invariant.Isolation : Invariant.FaultExact,
            $"{Name(made.Step)}: on QEMU it {seen}{(sight.IsHit ? ", by its IOTLB" : "")}", Say(made.May), made.Step);
    }

    private static bool IsMet(Expected outcome, Sight sight, uint word)
    {
        if (!outcome.GoesOn) return outcome.IsSilent ? sight is { IsSilentlyBlocked: true, IsHit: false } : sight.Reason == (byte)outcome.Fault;
        if (sight.Reason is not null) return false;
        if (outcome.Address >= Ground.Nowhere) return sight.IsSilentlyBlocked;
        return sight.Word == word;
    }

    /// <summary>Records and overflow: each machine's is that of the first of its faults, and where both had the same faults they are the same bit for bit.</summary>
    private void CompareRecords(
        List<Made> batch,
        WordDmaLog[] logs,
        List<QemuEvent> faults,
        (FaultRecord Record, bool Overflow) other,
        (FaultRecord Record, bool Overflow) own)
    {
        string? told = null;
        if (other.Record.IsSet != (faults.Count > 0)) told = $"QEMU reported {faults.Count} faults and recorded {other.Record}";
        else if (faults.Count > 0 && (other.Record.Reason, other.Record.Source, other.Record.Page >> 12) != ((byte)faults[0].Value, faults[0].Source, faults[0].Address >> 12))
            told = $"QEMU recorded {other.Record} of a fault with reason 0x{faults[0].Value:x} at 0x{faults[0].Address:x} by 0x{faults[0].Source:x}";
        else if (other.Overflow != faults.Count > 1) told = $"QEMU reported {faults.Count} faults and {(other.Overflow ? "an" : "no")} overflow";
        if (told is not null)
        {
            Differ(Invariant.FaultExact, told, "the first fault is recorded, and a second one sets the overflow flag", batch[^1].Step);
            return;
        }

        for (int i = 0; i < batch.Count; i++)
        {
            if (batch[i].May is not [var outcome]) return;
            byte? reason = outcome.GoesOn || outcome.IsSilent ? null : (byte)outcome.Fault;
            byte? reported = logs[i].Faults.Count == 0 ? null : (byte)logs[i].Faults[0].Value;
            if (reason != reported) return;
        }

        if (own == other) return;
        if (QemuDeviations.OfRecord(own.Record, other.Record, fuzzed.IsScalable) is { } name) _result.Explain(name);
        else Differ(Invariant.FaultExact, $"QEMU recorded {other.Record}", $"the simulator {own.Record}", batch[^1].Step);
    }

    private string Name(int step) => $"step {step + 1}, {fuzzed.Steps[step]}";

    private static string Say(List<Expected> may) => $"it {string.Join(", or ", may)}";

    private void Differ(Invariant invariant, string observed, string wanted, int? step = null)
    {
        if (bench.Muted.Contains(invariant)) _result.Muted[invariant] = _result.Muted.GetValueOrDefault(invariant) + 1;
        else _result.Difference ??= new(invariant, step ?? _step, observed, wanted);
    }
}
