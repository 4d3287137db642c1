using System.Collections.Immutable;
using Mono.Cecil;
using Mono.Cecil.Cil;

namespace Properties.House.Locks;

/// <summary>Holds the compiled methods of some types to the order that the types state of their locks.</summary>
/// <remarks>
/// For each method: what it may hold (<see cref="HeldLocks"/>) at each call, and what the call may take, wait for or call back, through the
/// graph of calls (<see cref="CallTargets"/>). It errs to the side of finding too much, but for what code outside keeps and calls later, what
/// reflection calls, and locks of code outside.
/// </remarks>
internal sealed class LockOrderCheck
{
    /// <summary>Calls that wait for hardware, or touch its registers.</summary>
    private static readonly string[] Waits =
        ["IWaitPolicy.KeepWaiting", "IIommu.Attach", "IIommu.Detach", "IIommu.Invalidate", "IIommu.EndFault", "IMmio.Read32", "IMmio.Read64", "IMmio.Write32", "IMmio.Write64"];

    private readonly LockRanks _ranks;
    private readonly CallTargets _targets;
    private readonly Dictionary<MethodDefinition, Body> _bodies = [];
    private readonly Dictionary<MethodDefinition, HeldLocks> _held = [];
    private readonly Dictionary<MethodDefinition, Effect> _effects = [];
    private readonly Dictionary<Instruction, MethodDefinition[]> _called = [];
    private readonly Dictionary<Instruction, Gate[]> _enters = [];
    private readonly HashSet<string> _breaches = [];

    private LockOrderCheck(IReadOnlyCollection<TypeDefinition> types, string[] callbackInterfaces)
    {
        _ranks = new(types);
        _targets = new(types, callbackInterfaces);
        foreach (MethodDefinition method in types.SelectMany(type => type.Methods).Where(method => method.HasBody)) _bodies[method] = new(method, _ranks);
        foreach ((Instruction instruction, Gate[] gates) in _bodies.Values.SelectMany(body => body.Enters)) _enters[instruction] = gates;
        foreach (Instruction instruction in _bodies.Keys.SelectMany(method => method.Body.Instructions))
        {
            MethodDefinition[] called = [.. _targets.Of(instruction).Where(_bodies.ContainsKey)];
            if (called.Length != 0) _called[instruction] = called;
        }
    }

    /// <summary>What is wrong, one line each, in the order of their names.</summary>
    public IReadOnlyList<string> Breaches => [.. _breaches.Order(StringComparer.Ordinal)];

    public IReadOnlyCollection<Gate> Gates => _ranks.Known;

    /// <summary>What the order allows and nothing needs, and ranks that no lock has.</summary>
    public IReadOnlyList<string> Idle => [.. _ranks.Allowances.Where(allowed => !allowed.IsUsed).Select(allowed => allowed.ToString()), .. _ranks.Unused];

    /// <summary>How many pairs of a lock held and a lock taken were found, by the names of their ranks.</summary>
    public SortedSet<string> Pairs { get; } = new(StringComparer.Ordinal);

    /// <param name="file">The compiled assembly.</param>
    /// <param name="isInside">Which of its types are looked at; those nested in them are too.</param>
    /// <param name="callbackInterfaces">Interfaces inside that users implement to be called back.</param>
    public static LockOrderCheck Of(string file, Func<TypeDefinition, bool> isInside, params string[] callbackInterfaces)
    {
        using var resolver = new DefaultAssemblyResolver();
        resolver.AddSearchDirectory(Path.GetDirectoryName(file));
        resolver.AddSearchDirectory(Path.GetDirectoryName(typeof(object).Assembly.Location));
        using AssemblyDefinition assembly = AssemblyDefinition.ReadAssembly(file, new() { AssemblyResolver = resolver });
        var check = new LockOrderCheck([.. assembly.MainModule.Types.Where(isInside).SelectMany(WithNested)], callbackInterfaces);
        check.Settle();
        check.Judge();
        return check;
    }

    private static IEnumerable<TypeDefinition> WithNested(TypeDefinition type) => [type, .. type.NestedTypes.SelectMany(WithNested)];

    /// <summary>Until no method does more to its callers' locks than was known of it.</summary>
    private void Settle()
    {
        for (bool changes = true; changes;)
        {
            changes = false;
            foreach ((MethodDefinition method, Body body) in _bodies)
            {
                HeldLocks held = new(body, EffectOf);
                _held[method] = held;
                Effect before = _effects.GetValueOrDefault(method, Effect.None);
                Effect after = held.Outcome();
                if (before.Leaves.SetEquals(after.Leaves) && before.Releases.SetEquals(after.Releases)) continue;
                _effects[method] = after;
                changes = true;
            }
        }
    }

    private Effect EffectOf(Instruction instruction)
    {
        if (!_called.TryGetValue(instruction, out MethodDefinition[]? called)) return Effect.None;
        Effect[] effects = [.. called.Where(_effects.ContainsKey).Select(method => _effects[method]).Where(effect => !effect.Leaves.IsEmpty || !effect.Releases.IsEmpty)];
        return effects.Length == 0 ? Effect.None : new([.. effects.SelectMany(effect => effect.Leaves)], [.. effects.SelectMany(effect => effect.Releases)]);
    }

    private void Judge()
    {
        foreach (string problem in _bodies.Values.SelectMany(body => body.Problems)) _breaches.Add(problem);
        foreach (Gate gate in _ranks.Known.Where(IsLocked))
        {
            if (gate.Rank is null) _breaches.Add($"{gate.Name} is locked and has no rank");
        }

        foreach (Gate gate in _ranks.Known.Where(gate => gate.Rank is not null)) JudgeEach($"takes {gate.Name}", at => Enters(at, gate), (method, held) => MayTake(method, held, gate));
        JudgeEach("waits for the hardware", IsWait, MayWait);
        string[] callbacks = [.. _called.Keys.Concat(_bodies.Keys.SelectMany(method => method.Body.Instructions)).Select(_targets.CallbackOf).OfType<string>().Distinct()];
        foreach (string callback in callbacks)
        {
            JudgeEach($"calls {callback} of the user", at => _targets.CallbackOf(at) == callback, (_, _) => _ranks.Allows("RunsUnderLocks", null, null, callback));
        }
    }

    private bool IsLocked(Gate gate) => _enters.Values.Any(gates => gates.Contains(gate));

    private bool Enters(Instruction instruction, Gate gate) => _enters.TryGetValue(instruction, out Gate[]? gates) && gates.Contains(gate);

    private static bool IsWait(Instruction instruction) =>
        instruction.OpCode.Code is Code.Call or Code.Callvirt && Waits.Contains(Names.Of((MethodReference)instruction.Operand));

    private bool MayTake(MethodDefinition method, Gate held, Gate taken)
    {
        if (held.Rank is null) return true;
        Pairs.Add($"{_ranks.NameOf(held)} -> {_ranks.NameOf(taken)}");
        return held.Rank < taken.Rank || (held.Rank == taken.Rank && _ranks.Allows("HeldTwice", held.Rank, Names.Of(method)));
    }

    private bool MayWait(MethodDefinition method, Gate held) => held.Rank is null || _ranks.Allows("HeldAcrossWait", held.Rank, Names.Of(method));

    /// <summary>Finds who does something with a lock held, by itself or through calls, and asks whether it may.</summary>
    private void JudgeEach(string what, Func<Instruction, bool> does, Func<MethodDefinition, Gate, bool> mayWith)
    {
        Dictionary<MethodDefinition, MethodDefinition?> next = WaysTo(does);
        foreach ((MethodDefinition method, HeldLocks held) in _held)
        {
            foreach (Instruction instruction in method.Body.Instructions)
            {
                Gate[] gates = [.. held.At(instruction)];
                if (gates.Length == 0) continue;
                bool isItself = does(instruction);
                MethodDefinition? callee = isItself ? null : _called.GetValueOrDefault(instruction)?.FirstOrDefault(next.ContainsKey);
                if (!isItself && callee is null) continue;
                foreach (Gate gate in gates)
                {
                    if (mayWith(method, gate)) continue;
                    string path = isItself ? "" : $"calls {string.Join(", which calls ", Way(callee!, next))}, which ";
                    _breaches.Add($"{Names.Of(method)} holds {gate.Name} ({_ranks.NameOf(gate)}) and {path}{what}");
                }
            }
        }
    }

    /// <summary>For each method that may come to do something: its next call on the shortest way; null: it does it itself.</summary>
    private Dictionary<MethodDefinition, MethodDefinition?> WaysTo(Func<Instruction, bool> does)
    {
        var next = new Dictionary<MethodDefinition, MethodDefinition?>();
        foreach (MethodDefinition method in _bodies.Keys.Where(method => method.Body.Instructions.Any(does))) next[method] = null;
        for (bool grows = next.Count != 0; grows;)
        {
            grows = false;
            HashSet<MethodDefinition> reached = [.. next.Keys];
            foreach (MethodDefinition caller in _bodies.Keys.Where(method => !next.ContainsKey(method)).ToArray())
            {
                MethodDefinition? callee = caller.Body.Instructions
                    .SelectMany(instruction => _called.GetValueOrDefault(instruction) ?? [])
                    .FirstOrDefault(reached.Contains);
                if (callee is null) continue;
                next[caller] = callee;
                grows = true;
            }
        }

        return next;
    }

    private static IEnumerable<string> Way(MethodDefinition from, Dictionary<MethodDefinition, MethodDefinition?> next)
    {
        for (MethodDefinition? at = from; at is not null; at = next[at]) yield return Names.Of(at);
    }
}
