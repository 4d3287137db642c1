using IommuSim.Machinery;
using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

/// <summary>
/// A VT-d DMA-remapping unit in legacy mode and, where its options say so, in scalable mode: the register page, the walk of
/// root, context, PASID, first-stage and second-stage tables, the caches, the invalidation queue, the fault records and the page
/// request queue.
/// </summary>
/// <remarks>
/// <para><b>Source.</b> Intel VT-d specification. Where it leaves the hardware free, the unit does what is hardest on
/// software: it caches all that it may, drops no more than an invalidation names, and drains no more than is asked for.</para>
/// <para><b>Steps.</b> An access is a sequence of atomic steps, each announced to <typeparamref name="TSteps"/> with no
/// lock held, and so is a command; <see cref="SimStep"/> lists them. A command or another access may fall in between.</para>
/// <para><b>Draining.</b> A wait descriptor does not complete while an access is in flight that may use what was
/// invalidated before it. It then stays at the head of the queue, <see cref="ProcessNextCommand"/> answers false, and the
/// end of the last such access rings the doorbell, or consumes the queue on its own thread in
/// <see cref="CommandMode.OnDoorbell"/>. Nothing ever blocks, so one thread that plays device and software cannot
/// deadlock.</para>
/// <para><b>Threads.</b> Any number at once, for every member.</para>
/// </remarks>
/// <typeparam name="TMemory">Where tables, queue and device buffers are.</typeparam>
/// <typeparam name="TSteps">The interleaving seam.</typeparam>
public sealed partial class VtdIommu<TMemory, TSteps> : AtsUnit<TSteps>, IMmio, ICommandConsumer
    where TMemory : struct, IPhysicalMemory
    where TSteps : struct, ISteps
{
    private readonly object _gate = new();
    private readonly TMemory _memory;
    private readonly TSteps _steps;
    private readonly VtdOptions _options;
    private readonly RemappingCaches _caches;
    private readonly FaultRecords _faults;
    private readonly MessageOutbox _outbox = new();

    /// <summary>A unit after reset: translation off, caches empty.</summary>
    /// <param name="memory">Where tables, queue and device buffers are.</param>
    /// <param name="options">What the unit can do.</param>
    /// <param name="steps">The interleaving seam.</param>
    /// <exception cref="ArgumentException">An option is outside its range; the message names it.</exception>
    public VtdIommu(TMemory memory, VtdOptions options, TSteps steps = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        _memory = memory;
        _steps = steps;
        _options = options;
        _caches = new(options);
        _faults = new(options.FaultRecordCount, _outbox);
        _queue = new(QueueAt(0), () => _faults.StopsQueue);
        _completionEvent = new(_outbox);
        _pageRequests = new(_outbox);
    }

    /// <summary>
    /// Called when the queue may have something to consume and <see cref="CommandMode.Manual"/> leaves it to others: after
    /// a tail write, after a queue error was cleared, and when an access ended for which a wait descriptor stood still.
    /// </summary>
    /// <remarks><b>Threads.</b> On the thread that wrote or that made the access, with no lock held.</remarks>
    public event Action? Doorbell;

    /// <summary>
    /// Called with each interrupt message that the unit sends: of a fault or an error of the queue, of a wait descriptor with the interrupt
    /// flag, of a page request. Whoever plays the interrupt controller takes it. While an event is masked its message stays pending.
    /// </summary>
    /// <remarks>
    /// <b>Threads.</b> On the thread that made the condition come up, or took the mask away, with no lock held; behind the status write of a
    /// wait, and behind the commands that are consumed in one go with it.
    /// </remarks>
    public event Action<InterruptMessage>? Interrupt;

    /// <summary>What the unit can do.</summary>
    public VtdOptions Options => _options;

    /// <summary>What the unit has done so far.</summary>
    public VtdStatistics Statistics
    {
        get
        {
            lock (_gate) return _caches.Statistics;
        }
    }

    /// <summary>What the IOTLB holds, at one instant.</summary>
    public IReadOnlyList<IotlbEntry> Iotlb
    {
        get
        {
            var entries = new List<IotlbEntry>();
            lock (_gate)
            {
                foreach (ref readonly CacheLine line in _caches.Iotlb.Lines)
                {
                    if (line.Valid) entries.Add(ToEntry(line));
                }
            }

            return entries;
        }
    }

    /// <summary>What the paging-structure caches hold, at one instant.</summary>
    public IReadOnlyList<WalkCacheEntry> WalkCache
    {
        get
        {
            var entries = new List<WalkCacheEntry>();
            lock (_gate)
            {
                for (int level = RemappingCaches.LowestTableLevel; level <= RemappingCaches.HighestTableLevel; level++)
                {
                    AddEntries(entries, _caches.WalkCache(isFirstStage: false, level));
                    if (_options.HasFirstStage) AddEntries(entries, _caches.WalkCache(isFirstStage: true, level));
                }
            }

            return entries;
        }
    }

    /// <summary>The PASID entries that lead to tables of those which the PASID cache holds, at one instant; absent ones and those of pass-through are left out.</summary>
    public IReadOnlyList<PasidCacheEntry> PasidCache
    {
        get
        {
            var entries = new List<PasidCacheEntry>();
            lock (_gate) _caches.Pasids.AddTo(entries);
            return entries;
        }
    }

    internal override TSteps Steps => _steps;

    internal override uint LargestSource => MaxSource;

    private static IotlbEntry ToEntry(in CacheLine line) => new(
        VtdTags.DomainOf(line.Tag),
        line.Range<PageLevels>(),
        new(line.Target),
        line.Rights.HasFlag(Rights.Read),
        line.Rights.HasFlag(Rights.Write),
        (VtdFaultReason)line.Fault,
        VtdTags.PasidOf(line.Tag),
        line.IsFirstStage ? TranslationStage.FirstStage : TranslationStage.SecondStage,
        line.Rights.HasFlag(Rights.User),
        line.Rights.HasFlag(Rights.Execute));

    private static void AddEntries(List<WalkCacheEntry> entries, TranslationCache<PageLevels> cache)
    {
        foreach (ref readonly CacheLine line in cache.Lines)
        {
            if (line.Valid)
                entries.Add(new(VtdTags.DomainOf(line.Tag), line.Range<PageLevels>(), new(line.Target), line.Level, (VtdFaultReason)line.Fault, VtdTags.PasidOf(line.Tag)));
        }
    }

    private void SendMessages()
    {
        if (_outbox.IsFilled)
        {
            InterruptMessage[] messages;
            lock (_gate)
            {
                messages = _outbox.TakeAll();
                _caches.Counts.InterruptMessages += messages.Length;
            }

            foreach (InterruptMessage message in messages) Interrupt?.Invoke(message);
        }
    }

    private void Ring()
    {
        if (_options.Commands == CommandMode.OnDoorbell) ProcessCommands();
        else Doorbell?.Invoke();
    }
}
