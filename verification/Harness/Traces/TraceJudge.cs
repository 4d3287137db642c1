using Vcmm.Spec;

namespace Harness.Traces;

/// <summary>Holds the events of a trace to the model, one line after the other, until one is refused.</summary>
/// <remarks>
/// Three rules. The model's own (<see cref="TranslationViews"/>) for each <c>map</c> and <c>unmap</c>. A decision to flush is
/// carried out by a descriptor of the same lane before the lane goes on. In strict mode the same holds for each unmapped range.
/// </remarks>
/// <param name="mode">The driver's mode; null to see it from the trace.</param>
/// <param name="muted">Invariants under which nothing is refused.</param>
internal sealed class TraceJudge(TraceMode? mode, InvariantSet muted = default)
{
    private const int ShownEvents = 8;

    private readonly TraceModel _model = new();
    private readonly Lanes _lanes = new();
    private readonly PageHistory _history = new();
    private readonly HashSet<UnitDomain> _tagged = [];
    private readonly SortedDictionary<Invariant, long> _muted = [];
    private bool _sawBoot;

    /// <summary>Whether a decision is traced before its descriptor or after it; the first pair shows it.</summary>
    private bool? _decidesFirst;

    private int _lanesWithDirect;

    /// <summary>How often each muted invariant was broken.</summary>
    public IReadOnlyDictionary<Invariant, long> Muted => _muted;

    /// <summary>What is counted while judging.</summary>
    public TraceCounts Counts { get; } = new();

    /// <summary>The mode: given, or what the first unmap showed.</summary>
    public TraceMode? Mode { get; private set; } = mode;

    /// <summary>The first line that was refused.</summary>
    public TraceRefusal? Refusal { get; private set; }

    /// <summary>Why the trace cannot be judged, if a line showed that; a refusal before it means nothing then.</summary>
    public BadInputException? Unjudgeable { get; private set; }

    public TraceModel Model => _model;

    /// <summary>Judges one line. After a refusal, only looks for proof that the trace cannot be judged at all.</summary>
    /// <exception cref="BadInputException">The line cannot be read, or the trace does not start at boot.</exception>
    public void Take(in TraceLine line)
    {
        Lane lane = _lanes.At(line.Place);
        Counts.Events++;
        ReadOnlySpan<byte> name = line.Event;
        if (name.SequenceEqual("map"u8))
            Map(line, lane);
        else if (name.SequenceEqual("unmap"u8))
            Unmap(line, lane);
        else if (name.SequenceEqual("qi_submit"u8))
            Submit(line, lane);
        else if (name.StartsWith("cache_tag_flush_"u8))
            Decide(line, lane);
        else if (name.SequenceEqual("cache_tag_assign"u8))
            Assign(line, lane);
        else
            Other(line, lane);
        _lanes.Leave(line.Place, lane);
    }

    /// <summary>The trace has ended: nothing may be left undone.</summary>
    public void End()
    {
        foreach (Lane lane in _lanes.Busy().ToList()) Refuse(_model.PlaceDirect(lane, null));
        if (Refusal is not null) return;
        if (_lanes.Busy().SelectMany(lane => lane.Decisions).DefaultIfEmpty().MinBy(open => open.Line) is { Line: > 0 } open)
            Refuse(Undone(open, open.Line, "no descriptor did before the trace ends"));
        else if (_model.Stale.MinBy(unmapped => unmapped.Line) is { } stale)
            RefuseAtEnd(_model.RequireSettled(stale, stale.Line));
    }

    private void Map(in TraceLine line, Lane lane)
    {
        MapEvent map = TraceEvents.ReadMap(line);
        Counts.Maps++;
        if (Refusal is null)
        {
            RequireBoot(line);
            bool isDirect = map.Range.First == map.Target;
            PlaceDirectBefore(map.Range, lane, isDirect);
            PageEvent what = Record(line, PageEventKind.Map, map.Range, map.Target);
            Refuse(isDirect ? _model.MapDirect(lane, what) : _model.Map(what));
            if (isDirect) AddDirect(lane, new(line.Number, map));
        }

        GoOn(line, lane);
    }

    private void Unmap(in TraceLine line, Lane lane)
    {
        UnmapEvent unmap = TraceEvents.ReadUnmap(line);
        Counts.Unmaps++;
        Unmapped? unmapped = null;
        if (Refusal is null)
        {
            RequireBoot(line);
            PlaceDirectBefore(unmap.Range, lane, isDirectMap: false);
            Refuse(_model.Unmap(Record(line, PageEventKind.Unmap, unmap.Range), out unmapped));
            if (unmap.ClearedBytes != unmap.RangeBytes)
            {
                string sentence = $"{unmap.RangeBytes} bytes were to be unmapped and {unmap.ClearedBytes} were";
                Refuse(new(line.Number, Invariant.Conservation, sentence, new(unmap.Range.First, unmap.Range.First | 0xFFF)));
            }
        }

        GoOn(line, lane);
        if (unmapped is not null) lane.Unmapped.Add(unmapped);
    }

    private void Decide(in TraceLine line, Lane lane)
    {
        bool isAll = line.Event.SequenceEqual("cache_tag_flush_all"u8);
        FlushDecision decision;
        if (!(isAll ? TraceEvents.TryReadFlushAll(line, out decision) : TraceEvents.TryReadFlushRange(line, out decision)))
        {
            Counts.Skipped.Add(line.Event, "not of an IOTLB"u8);
            CloseInterrupts(line);
            return;
        }

        Counts.Decisions++;
        if (Refusal is null)
        {
            RequireBoot(line);
            PlaceDirect(lane, null);
            ShowMode(lane, isAll ? TraceMode.Lazy : TraceMode.Strict);
            Record(line, PageEventKind.Decide, decision.Range, 0, decision.Domain);
            Refuse(CheckDecision(line.Number, decision));
        }

        if (_decidesFirst != true && lane.Early is { } early && early.Covers(decision))
        {
            _decidesFirst = false;
            lane.Early = null;
            CarriedOut(line, decision);
        }
        else
        {
            lane.Decisions.Enqueue(new(line.Number, decision));
        }

        CloseInterrupts(line);
    }

    private Breach? CheckDecision(long line, in FlushDecision decision)
    {
        _model.Checks[Invariant.NoStaleAccess]++;
        string? wrong = null;
        if (_tagged.Count > 0 && !_tagged.Contains(decision.Domain))
            wrong = $"{decision.Domain}, to which no cache tag was ever assigned";
        else if (!decision.Block.Contains(decision.Range))
            wrong = $"{decision.Range} by {decision.Block}, which does not cover it";
        if (wrong is null) return null;
        return new(line, Invariant.NoStaleAccess, $"the driver decided to invalidate {wrong}", _model.FirstStaleIn(decision.Range));
    }

    private void Submit(in TraceLine line, Lane lane)
    {
        if (!TraceEvents.TryReadIotlb(line, out IotlbDescriptor descriptor))
        {
            Counts.Skipped.Add(line.Event, new FieldReader(line.Text, line.Number, "qi_submit: ").Word());
            CloseInterrupts(line);
            return;
        }

        Counts.Add(descriptor.Granularity);
        _sawBoot |= descriptor.Granularity == Granularity.Global;
        if (Refusal is null)
        {
            RequireBoot(line);
            PlaceDirect(lane, null);
            ShowMode(lane, descriptor.Granularity == Granularity.Page ? TraceMode.Strict : TraceMode.Lazy);
            Record(line, PageEventKind.Invalidate, descriptor.Range, 0, descriptor.Domain, descriptor.Granularity == Granularity.Global);
        }

        if (Refusal is null) _model.Invalidate(descriptor, line.Microseconds);
        if (_decidesFirst == false || !lane.Decisions.TryDequeue(out OpenDecision open))
        {
            lane.Early = descriptor;
        }
        else if (descriptor.Covers(open.Decision))
        {
            _decidesFirst = true;
            CarriedOut(line, open.Decision);
        }
        else
        {
            Refuse(Undone(open, line.Number, $"this descriptor invalidates {descriptor}"));
        }

        CloseInterrupts(line);
    }

    private void Assign(in TraceLine line, Lane lane)
    {
        Counts.Assignments++;
        _sawBoot = true;
        if (TraceEvents.TryReadAssign(line, out UnitDomain domain))
        {
            _tagged.Add(domain);
            PlaceDirect(lane, domain);
        }

        GoOn(line, lane);
    }

    private void Other(in TraceLine line, Lane lane)
    {
        _sawBoot |= line.Event.SequenceEqual("attach_device_to_domain"u8) || line.Event.SequenceEqual("add_device_to_group"u8);
        Counts.Skipped.Add(line.Event, default);
        PlaceDirect(lane, null);
        GoOn(line, lane);
    }

    /// <summary>A line that is no part of an invalidation: the lane's call before it has returned.</summary>
    private void GoOn(in TraceLine line, Lane lane)
    {
        Close(lane, line);
        CloseInterrupts(line);
    }

    private void CloseInterrupts(in TraceLine line)
    {
        for (Context level = line.Place.Context + 1; level <= Context.NonMaskable; level++)
        {
            if (_lanes.Interrupt(line.Place, level) is { } above) Close(above, line);
        }
    }

    private void Close(Lane lane, in TraceLine line)
    {
        lane.Early = null;
        if (lane.Decisions.TryPeek(out OpenDecision open))
        {
            Refuse(Undone(open, line.Number, "no descriptor did before its flow of control went on"));
            lane.Decisions.Clear();
        }

        if (lane.Unmapped.Count == 0) return;
        Mode ??= TraceMode.Lazy;
        if (Mode == TraceMode.Strict && Refusal is null)
        {
            foreach (Unmapped unmapped in lane.Unmapped) Refuse(_model.RequireSettled(unmapped, line.Number));
        }

        lane.Unmapped.Clear();
    }

    private void ShowMode(Lane lane, TraceMode shown)
    {
        if (lane.Unmapped.Count > 0) Mode ??= shown;
    }

    private void CarriedOut(in TraceLine line, in FlushDecision decision)
    {
        if (_model.SharedId is null)
        {
            Refuse(_model.Learn(decision.Domain, line.Number));
        }
        else if (!_model.Knows(decision.Domain))
        {
            Unjudgeable ??= new(
                $"line {line.Number}: {decision.Domain} is invalidated beside {_model.SharedId}, and map and unmap lines name no domain; expected a trace in which one domain does translated DMA");
        }
    }

    private void AddDirect(Lane lane, DirectMap direct)
    {
        if (lane.Direct.Count == 0) _lanesWithDirect++;
        lane.Direct.Add(direct);
    }

    private void PlaceDirect(Lane lane, UnitDomain? domain)
    {
        if (lane.Direct.Count == 0 || Refusal is not null) return;
        _lanesWithDirect--;
        Refuse(_model.PlaceDirect(lane, domain));
    }

    /// <summary>Direct maps whose domain is still open become the shared domain's where something else needs to know.</summary>
    private void PlaceDirectBefore(AddressRange range, Lane lane, bool isDirectMap)
    {
        if (_lanesWithDirect == 0) return;
        if (!isDirectMap) PlaceDirect(lane, null);
        foreach (Lane other in _lanes.Busy().ToList())
        {
            if (other != lane && other.Direct.Exists(direct => direct.Map.Range.Overlaps(range))) PlaceDirect(other, null);
        }
    }

    private void RequireBoot(in TraceLine line)
    {
        if (_sawBoot) return;
        throw new BadInputException(
            $"line {line.Number}: the trace starts after boot: no device was attached before this line; "
            + "expected a trace from boot on (trace_event=iommu:*,intel_iommu:* on the kernel's command line)");
    }

    private Breach Undone(in OpenDecision open, long line, string instead) =>
        new(
            line,
            Invariant.NoStaleAccess,
            $"the driver decided at line {open.Line} to invalidate {open.Decision}; {instead}",
            _model.FirstStaleIn(open.Decision.Range));

    private PageEvent Record(in TraceLine line, PageEventKind kind, AddressRange range, ulong target = 0, UnitDomain domain = default, bool isGlobal = false)
    {
        var what = new PageEvent(line.Number, line.Microseconds, kind, line.Place, range, target, domain, isGlobal);
        _history.Add(what);
        return what;
    }

    private void RefuseAtEnd(Breach? breach)
    {
        if (breach is not null) Refuse(breach with { Sentence = breach.Sentence + ", not even at the end of the trace" });
    }

    private void Refuse(Breach? breach)
    {
        if (breach is null || Refusal is not null) return;
        if (muted.Contains(breach.Invariant))
        {
            _muted[breach.Invariant] = _muted.GetValueOrDefault(breach.Invariant) + 1;
            return;
        }

        var events = _history.Of(breach.Page, ShownEvents).ToList();
        if (_model.OriginOf(breach.Page) is { } origin && events.TrueForAll(shown => shown.Line != origin.Line)) events.Insert(0, origin);
        Refusal = new(breach.Line, breach.Invariant, breach.Sentence, breach.Page, [.. events.Select(shown => shown.ToString())]);
    }
}
