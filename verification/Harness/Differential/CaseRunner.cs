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

    /// <summary>An access of which all is known but what the other machine's device read.</summary>
    private sealed record Pending(int Step, FuzzStep.Access Access, List<Expected> May, uint[] Words, Sight Sight, int Place);

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
        var batch = new List<(FuzzStep.Access Access, int Step, List<Expected> May)>();
        for (; _step < fuzzed.Steps.Length && fuzzed.Steps[_step] is FuzzStep.Access access; _step++)
        {
            if (batch.Any(other => other.Access.Device == access.Device)) break;
            List<Expected>? may = bench.Oracle.Of(Ground.Source(access.Device), access.Iova, access.IsWrite);
            if (may is null || !may.TrueForAll(outcome => outcome.GoesOn ? IsAlike(outcome, access) : !access.IsWrite || !QemuDeviations.MayGoOn(outcome)))
            {
                _result.Open++;
                continue;
            }

            // Two writes to one word in one batch could not be told apart.
            if (access.IsWrite && batch.Any(other => other.Access.IsWrite && other.May.Exists(one => one.GoesOn && may.Contains(one)))) break;
            batch.Add((access, _step, may));
        }

        _step--;
        if (batch.Count == 0) return;
        if (_pending.GroupBy(pending => pending.Access.Device).Any(own => own.Count(pending => !pending.Access.IsWrite) >= bench.Devices.WordsPerDevice)) Collect();
        if (_result.Difference is null) Run(batch);
    }

    private static bool IsAlike(Expected outcome, FuzzStep.Access access) =>
        access.IsWrite ? Ground.IsWritable(outcome.Address) : Ground.IsReadable(outcome.Address);

    private void Run(List<(FuzzStep.Access Access, int Step, List<Expected> May)> batch)
    {
        (WordDmaLog[] logs, List<QemuEvent> faults) = bench.Devices.Run(
            [.. batch.Select(entry => new WordDma(entry.Access.Device, new(entry.Access.Iova), entry.Access.IsWrite ? TokenOf(entry.Step) : -1))]);
        (FaultRecord otherRecord, bool otherOverflow) = bench.Other.TakeFault();
        for (int i = 0; i < batch.Count && _result.Difference is null; i++)
        {
            (FuzzStep.Access access, int step, List<Expected> may) = batch[i];
            _result.Accesses++;
            if (may.Count > 1) _result.Unsettled++;
            OnSimulator(access, step, may);
            if (_result.Difference is null) OnOther(access, step, may, logs[i]);
        }

        (FaultRecord record, bool overflow) = bench.Simulator.Software.TakeFault();
        if (_result.Difference is null) CompareRecords(batch, logs, faults, (otherRecord, otherOverflow), (record, overflow));
        foreach ((FuzzStep.Access access, int _, List<Expected> may) in batch)
        {
            if (access.IsWrite) _written.UnionWith(may.Where(outcome => outcome.GoesOn && outcome.Address < Ground.EndOfData).Select(outcome => outcome.Address));
        }
    }

    private static int TokenOf(int step) => step % Ground.TokenCount;

    /// <summary>The simulator must do one of the things that the tables say.</summary>
    private void OnSimulator(FuzzStep.Access access, int step, List<Expected> may)
    {
        uint word = Ground.Token(TokenOf(step));
        DmaResult result = access.IsWrite ? bench.Simulator.Write(access.Device, access.Iova, word) : bench.Simulator.Read(access.Device, access.Iova, out word);
        bool isRight = may.Exists(outcome => outcome.GoesOn
            ? outcome.Address >= Ground.Nowhere ? !result.Ok && result.Reason == VtdFaultReason.None : result.Ok && bench.Memory.Read32(new(outcome.Address)) == word
            : !result.Ok && result.Reason == outcome.Fault);
        if (isRight) return;
        bool isStale = may.Count == 1 && result.Ok;
        Differ(
            isStale ? Invariant.NoStaleAccess : Invariant.FaultExact,
            $"{Name(step)}: on the simulator it {(result.Ok ? "went on" : $"was blocked by {result.Reason}")}",
            Say(may), step);
    }

    /// <summary>What QEMU's log and memory tell at once. What was read is told later.</summary>
    private void OnOther(FuzzStep.Access access, int step, List<Expected> may, WordDmaLog log)
    {
        uint token = Ground.Token(TokenOf(step));
        bool isWritten = access.IsWrite && may.Exists(outcome => outcome.GoesOn && outcome.Address < Ground.EndOfData && bench.ReadOther(outcome.Address) == token);
        QemuEvent? fault = log.Faults.Count == 0 ? null : log.Faults[0];
        if (fault is { } told && (log.Faults.Count > 1 || told.IsWrite != access.IsWrite || told.Address >> 12 != access.Iova >> 12))
        {
            Differ(Invariant.FaultExact, $"{Name(step)}: QEMU reported {log.Faults.Count} faults, the first for a {(told.IsWrite ? "write" : "read")} of 0x{told.Address:x}", Say(may), step);
            return;
        }

        var sight = new Sight(fuzzed.IsScalable, access.Iova, access.IsWrite, (byte?)fault?.Value, log.IsHit, isWritten);
        int place = access.IsWrite ? -1 : _pending.Count(pending => pending.Access.Device == access.Device && !pending.Access.IsWrite);
        uint[] words = [.. may.Select(outcome => outcome.GoesOn && outcome.Address < Ground.Nowhere ? bench.Memory.Read32(new(outcome.Address)) : 0)];
        var pending = new Pending(step, access, may, words, sight, place);
        if (access.IsWrite) Judge(pending, 0);
        else _pending.Add(pending);
    }

    private void Collect()
    {
        if (_pending.Count == 0) return;
        uint[][] words = bench.Devices.Collect();
        foreach (Pending pending in _pending)
        {
            if (_result.Difference is null) Judge(pending, words[pending.Access.Device][pending.Place]);
        }

        _pending.Clear();
    }

    private void Judge(Pending pending, uint word)
    {
        Sight sight = pending.Sight with { Word = word };
        Expected? met = null;
        for (int i = 0; i < pending.May.Count; i++)
        {
            if (IsMet(pending.May[i], sight, pending.Words[i])) met = pending.May[i];
        }

        if (met is { } right)
        {
            if (right.GoesOn) _result.Transfers++;
            else _result.Faults++;
            _result.Reasons[(byte)right.Fault] = _result.Reasons.GetValueOrDefault((byte)right.Fault) + 1;
            return;
        }

        foreach (Expected outcome in pending.May)
        {
            if (QemuDeviations.OfAccess(outcome, sight) is not { } name) continue;
            _result.Explain(name);
            return;
        }

        string seen = sight.Reason is { } reason ? $"was blocked by reason 0x{reason:x}"
            : sight.IsWrite ? sight.IsWritten ? "wrote" : "wrote nothing"
            : $"read 0x{word:x}";
        bool isStale = pending.May is [{ GoesOn: false }] && sight.Reason is null;
        Differ(
            isStale ? Invariant.NoStaleAccess : sight.Reason is null ? Invariant.Isolation : Invariant.FaultExact,
            $"{Name(pending.Step)}: on QEMU it {seen}{(sight.IsHit ? ", by its IOTLB" : "")}", Say(pending.May), pending.Step);
    }

    private static bool IsMet(Expected outcome, Sight sight, uint word)
    {
        if (!outcome.GoesOn) return outcome.IsSilent ? sight is { IsSilentlyBlocked: true, IsHit: false } : sight.Reason == (byte)outcome.Fault;
        if (sight.Reason is not null) return false;
        if (outcome.Address >= Ground.Nowhere) return sight.IsSilentlyBlocked;
        return sight.IsWrite ? sight.IsWritten : sight.Word == word;
    }

    /// <summary>Records and overflow: each machine's is that of the first of its faults, and where both had the same faults they are the same bit for bit.</summary>
    private void CompareRecords(
        List<(FuzzStep.Access Access, int Step, List<Expected> May)> batch,
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

    private void Differ(Invariant invariant, string observed, string wanted, int? step = null) =>
        _result.Difference ??= new(invariant, step ?? _step, observed, wanted);
}
