using Explorer.Oracles;
using Explorer.Scheduling;
using Harness.Running;
using Microsoft.Coyote.Rewriting;
using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Explorer.Scripts;

/// <summary>
/// Which address spaces the associations of a script may be, and in which they may be active. One that is changed beside its activation may be either: what both calls
/// came to says which, so the ledger has both until it is known.
/// </summary>
/// <param name="attempt">Where checks go.</param>
/// <param name="ledger">What devices may see.</param>
/// <param name="subject">The library.</param>
/// <param name="ownerOf">The region whose backings the tables of a region have.</param>
[SkipRewriting("Keeping the books must not add steps to the schedule.")]
internal sealed class AssociationBook(Attempt attempt, Ledger ledger, Func<Subject> subject, Func<ObjectId, ObjectId> ownerOf)
{
    private readonly Dictionary<ObjectId, Joined> _all = [];

    /// <summary>What joined the two, if that was ever asked.</summary>
    public Associate? Find(ObjectId association) => _all.GetValueOrDefault(association)?.Associate;

    /// <summary>Two were joined, or it was refused: then nobody has it.</summary>
    public void Add(Associate associate) => _all[associate.Association] = new(associate);

    /// <summary>An association is made active, or not any more.</summary>
    /// <returns>Told what was seen of it when it has returned; null: nobody has it.</returns>
    public Action<Observation>? Switch(ObjectId association, bool active)
    {
        if (!_all.TryGetValue(association, out Joined? joined)) return null;
        var call = new Call(Attempt.Agent, active);
        joined.NoteBeside(call);
        IEnumerable<Space> spaces = active ? joined.Possible.Select(static terms => terms.Space) : joined.Active.Concat(joined.Activating);
        foreach (Space space in spaces.Distinct().ToArray()) Begin(joined, call, space);
        bool wasNoted = joined.Possible.All(terms => IsNoted(joined, terms));
        return seen =>
        {
            joined.Calls.Remove(call);
            bool isDone = seen.Outcome == Outcome.None;
            if (active) EndActivation(joined, call, isDone, wasNoted && joined.Possible.All(terms => IsNoted(joined, terms)));
            else EndDeactivation(joined, call, isDone);
        };
    }

    /// <summary>An association is given other terms, which it has before an activation beside it or not at all.</summary>
    /// <returns>Told what was seen of it when it has returned; null: nobody has it.</returns>
    public Action<Observation>? Change(ChangeAssociation change)
    {
        if (!_all.TryGetValue(change.Association, out Joined? joined)) return null;
        Terms terms = joined.BeginChange(change);
        foreach (Call call in joined.Calls.Where(static call => call.Activates).ToArray()) Begin(joined, call, terms.Space);

        return seen =>
        {
            joined.EndChange(terms, seen.Outcome == Outcome.None);
            Settle(joined);
        };
    }

    private void Begin(Joined joined, Call call, Space space)
    {
        if (!call.Spaces.Add(space)) return;
        string self = Attempt.ActAs(call.Agent);
        ForEach(joined, space, (id, vcm) =>
        {
            ledger.BeginAssociation(id, vcm, call.Activates);
            if (call.Activates) ledger.SetNoting(id, vcm, isNoted: false);
        });
        Attempt.ActAs(self);
        if (!call.Activates) return;
        // Where it may be active by now, those that end it may end it.
        foreach (Call other in joined.Calls.Where(static other => !other.Activates).ToArray()) Begin(joined, other, space);
    }

    private void EndActivation(Joined joined, Call call, bool isDone, bool isNoted)
    {
        // Alone it is in an address space that the association may still be by now; beside others it may have been active, ended, and changed since.
        Space[] may = !isDone ? [] : call.IsAlone ? [.. joined.Possible.Select(static terms => terms.Space).Distinct()] : [.. call.Spaces];
        foreach (Space space in call.Spaces)
        {
            ForEach(joined, space, (id, vcm) =>
            {
                ledger.EndAssociation(id, vcm, true, may.Contains(space), isCertain: may.Length == 1);
                if (may.Contains(space)) ledger.SetNoting(id, vcm, isNoted && may.Length == 1);
            });
        }

        if (isDone && call.IsAlone) joined.Active.Clear();
        joined.Active.UnionWith(may);
        joined.IsActive = isDone && call.IsAlone;
    }

    private void EndDeactivation(Joined joined, Call call, bool isDone)
    {
        foreach (Space space in call.Spaces)
        {
            // Another association that has the address space by now may be active there.
            bool isCertain = call.Spaces.Count == 1 || !IsOfOthers(joined, space);
            ForEach(joined, space, (id, vcm) =>
            {
                ledger.EndAssociation(id, vcm, false, isDone, isCertain);
                if (!isDone) return;
                ledger.SetNoting(id, vcm, isNoted: false);
                attempt.Check(Invariant.Progress, ledger.EndSpace(id));
            });
        }

        if (isDone && call.IsAlone) joined.Active.Clear();
    }

    /// <summary>A change has returned: while the association stays active only what it can be still is where it is.</summary>
    private void Settle(Joined joined)
    {
        if (!joined.IsActive || joined.Active.Count < 2) return;
        Space[] may = [.. joined.Active.Intersect(joined.Possible.Select(static terms => terms.Space))];
        if (may.Length != 1) return;
        foreach (Space space in joined.Active)
        {
            if (space == may[0] || !IsOfOthers(joined, space)) ForEach(joined, space, (id, vcm) => ledger.SetAssociation(id, vcm, space == may[0]));
        }

        joined.Active.IntersectWith(may);
    }

    private bool IsOfOthers(Joined joined, Space space) => _all.Values.Any(other => other != joined && other.Associate.Vcm == joined.Associate.Vcm
        && other.Associate.Device == joined.Associate.Device && other.Possible.Any(terms => terms.Space == space));

    private void ForEach(Joined joined, Space space, Action<StreamId, Vcm> act)
    {
        Vcm vcm = subject().Region(ownerOf(joined.Associate.Vcm));
        ObjectId device = joined.Associate.Device;
        if (device.Kind != ObjectKind.Process) act(ScriptEffects.SpaceOf(subject().Machine.Devices[device.Number].Id, space.Pasid), vcm);
        else for (int core = 0; core < subject().Cpus!.CoreCount; core++) act(ScriptEffects.SpaceOf(core, device.Number), vcm);
    }

    /// <summary>Whether what a device does by way of an association is noted in a table of the region's own.</summary>
    private bool IsNoted(Joined joined, Terms terms)
    {
        ObjectId vcm = joined.Associate.Vcm;
        return joined.Associate.Device.Kind != ObjectKind.Process && ownerOf(vcm) == vcm && subject().Driver.TracksUse(subject().FormatOf(terms.Kind ?? TableKind.SecondStage));
    }

    /// <summary>An address space of a device; a process has one.</summary>
    private readonly record struct Space(uint? Pasid);

    /// <summary>What an association is given, by a call that began and ended then.</summary>
    private sealed record Terms(TableKind? Kind, Space Space, int Begun)
    {
        public int Ended { get; set; }
    }

    /// <summary>An activation or a deactivation that is under way.</summary>
    private sealed class Call(string agent, bool activates)
    {
        public string Agent => agent;

        public bool Activates => activates;

        /// <summary>Whether no other of its association was under way meanwhile.</summary>
        public bool IsAlone { get; set; } = true;

        /// <summary>Where it may make a difference.</summary>
        public HashSet<Space> Spaces { get; } = [];
    }

    private sealed class Joined(Associate associate)
    {
        private readonly List<Terms> _done = [new(associate.Kind, SpaceOf(associate, associate.Pasid), 0)];
        private readonly List<Terms> _underWay = [];
        private int _clock;

        public Associate Associate => associate;

        /// <summary>What it may be given by now.</summary>
        public IEnumerable<Terms> Possible => _done.Concat(_underWay);

        /// <summary>Whether the last call that made it active, or ended that, has made it active, beside no other such.</summary>
        public bool IsActive { get; set; }

        /// <summary>Where it may be active.</summary>
        public HashSet<Space> Active { get; } = [];

        /// <summary>Where activations that are under way may make it so.</summary>
        public IEnumerable<Space> Activating => Calls.Where(static call => call.Activates).SelectMany(static call => call.Spaces);

        public List<Call> Calls { get; } = [];

        public void NoteBeside(Call call)
        {
            call.IsAlone = Calls.Count == 0;
            foreach (Call other in Calls) other.IsAlone = false;
            IsActive = false;
            Calls.Add(call);
        }

        public Terms BeginChange(ChangeAssociation change)
        {
            var terms = new Terms(change.Kind, SpaceOf(associate, change.Pasid), ++_clock);
            _underWay.Add(terms);
            return terms;
        }

        public void EndChange(Terms terms, bool isDone)
        {
            _underWay.Remove(terms);
            if (!isDone) return;
            _done.RemoveAll(one => one.Ended < terms.Begun);
            terms.Ended = ++_clock;
            _done.Add(terms);
        }

        private static Space SpaceOf(Associate associate, uint? pasid) => new(associate.Device.Kind == ObjectKind.Process ? null : pasid);
    }
}
