using Platform;

namespace Vcmm;

/// <summary>The reservations of a region in the order of their addresses.</summary>
/// <remarks>
/// <para>Runs of at most 256 in a list of runs: a search takes two binary searches, a change moves part of one run, and now and
/// then part of the list.</para>
/// <para><b>Threads.</b> Changes under the region's reservation gate. <see cref="Find"/> takes no lock: it looks again if a change
/// was made meanwhile.</para>
/// </remarks>
internal sealed class ReservationIndex
{
    private const int MostInRun = 256;

    private Run[] _runs = [new()];
    private int _runCount = 1;
    private uint _version;

    public int Count { get; private set; }

    /// <summary>All of them. Under the gate.</summary>
    public IEnumerable<ReservationState> All
    {
        get
        {
            for (int i = 0; i < _runCount; i++)
            {
                for (int j = 0; j < _runs[i].Count; j++) yield return _runs[i].States[j];
            }
        }
    }

    /// <summary>The reservation in which an address lies, and its generation; null: there is none.</summary>
    public ReservationState? Find(Iova address, out uint generation)
    {
        while (true)
        {
            uint version = Volatile.Read(ref _version);
            ReservationState? found = FindOnce(address, out generation);
            Interlocked.MemoryBarrier();
            if ((version & 1) == 0 && Volatile.Read(ref _version) == version) return found;
            Thread.SpinWait(1);
        }
    }

    /// <summary>Starts a change; look-ups wait for its end. The state of what is added is written in between.</summary>
    public void BeginChange()
    {
        Volatile.Write(ref _version, unchecked(_version + 1));
        Interlocked.MemoryBarrier();
    }

    /// <summary>Ends a change.</summary>
    public void EndChange() => Volatile.Write(ref _version, unchecked(_version + 1));

    public void Add(ReservationState state)
    {
        int index = RunAt(state.Range.First.Value);
        Run run = _runs[index];
        if (run.Count == MostInRun)
        {
            Run upper = run.SplitUpperHalf();
            InsertRun(index + 1, upper);
            if (state.Range.First.Value >= upper.States[0].Range.First.Value) run = upper;
        }

        run.Insert(state);
        Count++;
    }

    public void Remove(ReservationState state)
    {
        int index = RunAt(state.Range.First.Value);
        Run run = _runs[index];
        run.RemoveAt(run.LastStartingAtOrBefore(state.Range.First.Value));
        Count--;
        if (run.Count == 0 && _runCount > 1) RemoveRun(index);
    }

    private ReservationState? FindOnce(Iova address, out uint generation)
    {
        generation = 0;
        // A change meanwhile may show an array and the count of another.
        Run[] runs = Volatile.Read(ref _runs);
        int index = LastRunStartingAtOrBefore(runs, Math.Min(Volatile.Read(ref _runCount), runs.Length), address.Value);
        if (index < 0 || runs[index] is not { } run) return null;
        int place = run.LastStartingAtOrBefore(address.Value);
        if (place < 0 || run.States[place] is not { } state || !state.Range.Contains(address)) return null;
        generation = Volatile.Read(ref state.Generation);
        return state;
    }

    private int RunAt(ulong first) => Math.Max(0, LastRunStartingAtOrBefore(_runs, _runCount, first));

    private static int LastRunStartingAtOrBefore(Run[] runs, int count, ulong address)
    {
        int low = 0;
        int high = count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            // Only a run that stands alone is empty.
            if (runs[middle] is { } run && run.States[0] is { } first && first.Range.First.Value <= address) low = middle + 1;
            else high = middle;
        }

        return low - 1;
    }

    private void InsertRun(int index, Run run)
    {
        if (_runCount == _runs.Length)
        {
            Run[] larger = new Run[2 * _runs.Length];
            Array.Copy(_runs, larger, _runCount);
            Volatile.Write(ref _runs, larger);
        }

        Array.Copy(_runs, index, _runs, index + 1, _runCount - index);
        _runs[index] = run;
        _runCount++;
    }

    private void RemoveRun(int index)
    {
        _runCount--;
        Array.Copy(_runs, index + 1, _runs, index, _runCount - index);
        _runs[_runCount] = null!;
    }

    private sealed class Run
    {
        public readonly ReservationState[] States = new ReservationState[MostInRun];

        public int Count;

        public int LastStartingAtOrBefore(ulong address)
        {
            int low = 0;
            int high = Math.Min(Count, MostInRun);
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (States[middle] is { } state && state.Range.First.Value <= address) low = middle + 1;
                else high = middle;
            }

            return low - 1;
        }

        public void Insert(ReservationState state)
        {
            int place = LastStartingAtOrBefore(state.Range.First.Value) + 1;
            Array.Copy(States, place, States, place + 1, Count - place);
            States[place] = state;
            Count++;
        }

        public void RemoveAt(int place)
        {
            Count--;
            Array.Copy(States, place + 1, States, place, Count - place);
            States[Count] = null!;
        }

        public Run SplitUpperHalf()
        {
            var upper = new Run { Count = Count / 2 };
            Array.Copy(States, Count - upper.Count, upper.States, 0, upper.Count);
            Array.Clear(States, Count - upper.Count, upper.Count);
            Count -= upper.Count;
            return upper;
        }
    }
}
