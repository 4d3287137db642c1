using Explorer.Races;
using Mono.Cecil;
using Mono.Cecil.Cil;
using Mono.Cecil.Rocks;

namespace Explorer.Worker;

/// <summary>
/// Puts <see cref="Edges"/> into assemblies that are rewritten for the scheduler: what orders agents there is told to the search for races. That is the library, and what is put in its
/// place on purpose; not the simulator, whose own locks are not the hardware's.
/// </summary>
public static class EdgeFitter
{
    private const string Types = "Microsoft.Coyote.Rewriting.Types.";
    private const string ThinLock = "Vcmm.ThinLock";

    /// <summary>Fits an assembly.</summary>
    /// <param name="module">It.</param>
    /// <param name="refer">Refers to a type of the worker.</param>
    /// <returns>Whether there was something to do.</returns>
    public static bool Fit(ModuleDefinition module, Func<string?, string, TypeReference> refer)
    {
        bool isChanged = false;
        var edges = new Hooks(module, refer);
        foreach (TypeDefinition type in module.GetTypes().Where(IsFitted))
        {
            foreach (MethodDefinition method in type.Methods.Where(static method => method.HasBody)) isChanged |= Fit(method, edges);
        }

        return isChanged;
    }

    /// <summary>How many calls of the library order agents and tell nobody.</summary>
    /// <param name="module">An assembly that was fitted.</param>
    /// <param name="refer">Refers to a type of the worker.</param>
    public static int CountWithout(ModuleDefinition module, Func<string?, string, TypeReference> refer)
    {
        var edges = new Hooks(module, refer);
        return module.GetTypes().Where(IsFitted).SelectMany(static type => type.Methods).Where(static method => method.HasBody).Sum(method => CallsIn(method, edges).Length);
    }

    private static bool IsFitted(TypeDefinition type) => type.Module.Assembly.Name.Name switch
    {
        "Vcmm" or "Concurrency" => true,
        "explorer" => type.FullName.StartsWith("Explorer.Faults.", StringComparison.Ordinal),
        _ => false,
    };

    private static bool Fit(MethodDefinition method, Hooks edges)
    {
        Instruction[] calls = CallsIn(method, edges);
        bool isOfThinLock = method.DeclaringType.FullName == ThinLock && method.Name is ("Enter" or "Exit") && !method.Body.Instructions.Any(edges.IsOne);
        if (calls.Length == 0 && !isOfThinLock) return false;
        method.Body.SimplifyMacros();
        ILProcessor code = method.Body.GetILProcessor();
        foreach (Instruction call in calls) Fit(code, call, edges);
        if (isOfThinLock) FitLock(code, edges);
        method.Body.OptimizeMacros();
        return true;
    }

    /// <summary>What is still to be fitted. The fields of the lock that is not the runtime's are its own matter.</summary>
    private static Instruction[] CallsIn(MethodDefinition method, Hooks edges)
    {
        bool isOfLock = method.DeclaringType.FullName == ThinLock;
        return [.. method.Body.Instructions.Where(at =>
            at.OpCode == OpCodes.Call && IsTold((MethodReference)at.Operand) && (!isOfLock || IsMonitor((MethodReference)at.Operand)) && !edges.IsFitted(at))];
    }

    private static bool IsTold(MethodReference called) => called.DeclaringType.FullName.StartsWith(Types, StringComparison.Ordinal) && (IsMonitor(called) || IsField(called) || IsCollection(called));

    private static bool IsMonitor(MethodReference called) => called.DeclaringType.FullName == Types + "Threading.Monitor" && called.Name is "Enter" or "Exit" or "Wait";

    private static bool IsField(MethodReference called) => called.DeclaringType.FullName is Types + "Threading.Volatile" or Types + "Threading.Interlocked";

    private static bool IsCollection(MethodReference called) => called.DeclaringType.FullName.StartsWith(Types + "Collections.Concurrent.", StringComparison.Ordinal);

    private static void Fit(ILProcessor code, Instruction call, Hooks edges)
    {
        var called = (MethodReference)call.Operand;
        if (IsMonitor(called))
        {
            call.Operand = edges.Of(called);
            return;
        }

        int place = HashOf(IsCollection(called) ? called.DeclaringType.FullName : FieldOf(code.Body.Method, call, called));
        bool isVolatile = called.DeclaringType.Name == "Volatile";
        Instruction last = call;
        if (!isVolatile || called.Name == "Write")
        {
            // In the place of the call: what jumps to it comes here first.
            (call.OpCode, call.Operand) = (OpCodes.Ldc_I4, place);
            code.InsertAfter(call, last = Instruction.Create(OpCodes.Call, edges.Publishes));
            Instruction moved = Instruction.Create(OpCodes.Call, called);
            code.InsertAfter(last, moved);
            last = moved;
        }

        if (isVolatile && called.Name == "Write") return;
        Instruction seen = Instruction.Create(OpCodes.Ldc_I4, place);
        code.InsertAfter(last, seen);
        code.InsertAfter(seen, Instruction.Create(OpCodes.Call, edges.Sees));
    }

    /// <summary>The lock that is not the runtime's: taken when its method returns, let go when its method begins.</summary>
    private static void FitLock(ILProcessor code, Hooks edges)
    {
        if (code.Body.Method.Name == "Exit")
        {
            Instruction first = code.Body.Instructions[0];
            code.InsertBefore(first, Instruction.Create(OpCodes.Ldarg, code.Body.ThisParameter));
            code.InsertBefore(first, Instruction.Create(OpCodes.Call, edges.Exits));
            return;
        }

        foreach (Instruction end in code.Body.Instructions.Where(static at => at.OpCode == OpCodes.Ret).ToArray())
        {
            (end.OpCode, end.Operand) = (OpCodes.Ldarg, code.Body.ThisParameter);
            Instruction told = Instruction.Create(OpCodes.Call, edges.Entered);
            code.InsertAfter(end, told);
            code.InsertAfter(told, Instruction.Create(OpCodes.Ret));
        }
    }

    /// <summary>Which field is read or written. Of a number it is the one whose address is taken; anything else has a type of its own, which says enough.</summary>
    private static string FieldOf(MethodDefinition method, Instruction call, MethodReference called)
    {
        if (called is GenericInstanceMethod { GenericArguments: [var type] }) return type.FullName;
        string number = called.Parameters[0].ParameterType.GetElementType().FullName;
        for (Instruction? at = Producer(call, called.Parameters.Count) ?? call.Previous; at is not null; at = at.Previous)
        {
            if (at.OpCode.Code is Code.Ldflda or Code.Ldsflda && at.Operand is FieldReference field && field.FieldType.FullName == number)
                return $"{field.DeclaringType.GetElementType().FullName}.{field.Name}";
        }

        return number;
    }

    /// <summary>What puts the first argument there; null: the way to it is not a straight one.</summary>
    private static Instruction? Producer(Instruction call, int count)
    {
        for (Instruction? at = call.Previous; at is not null; at = at.Previous)
        {
            if (at.OpCode.FlowControl is FlowControl.Branch or FlowControl.Cond_Branch) return null;
            int pushed = Pushed(at);
            if (pushed > 0 && pushed >= count) return at;
            count += Popped(at) - pushed;
        }

        return null;
    }

    private static int Pushed(Instruction at) => at.Operand is MethodReference called && at.OpCode.FlowControl == FlowControl.Call
        ? at.OpCode.Code == Code.Newobj || called.ReturnType.MetadataType != MetadataType.Void ? 1 : 0
        : at.OpCode.StackBehaviourPush switch
        {
            StackBehaviour.Push0 => 0,
            StackBehaviour.Push1_push1 => 2,
            _ => 1,
        };

    private static int Popped(Instruction at) => at.Operand is MethodReference called && at.OpCode.FlowControl == FlowControl.Call
        ? called.Parameters.Count + (called.HasThis && at.OpCode.Code != Code.Newobj ? 1 : 0)
        : at.OpCode.StackBehaviourPop switch
        {
            StackBehaviour.Pop0 => 0,
            StackBehaviour.Pop1 or StackBehaviour.Popi or StackBehaviour.Popref => 1,
            StackBehaviour.Popi_popi_popi or StackBehaviour.Popref_popi_popi or StackBehaviour.Popref_popi_popi8 or StackBehaviour.Popref_popi_popr4
                or StackBehaviour.Popref_popi_popr8 or StackBehaviour.Popref_popi_popref => 3,
            _ => 2,
        };

    // FNV-1a: two fields that come to one number are one more edge, and no false alarm.
    private static int HashOf(string name)
    {
        uint hash = 2_166_136_261;
        foreach (char letter in name) hash = unchecked((hash ^ letter) * 16_777_619);
        return unchecked((int)hash);
    }

    private sealed class Hooks
    {
        private readonly TypeReference _edges;

        public Hooks(ModuleDefinition module, Func<string?, string, TypeReference> refer)
        {
            _edges = refer(typeof(Edges).Namespace, nameof(Edges));
            Publishes = Make(nameof(Edges.Publishes), module.TypeSystem.Void, module.TypeSystem.Int32);
            Sees = Make(nameof(Edges.Sees), module.TypeSystem.Void, module.TypeSystem.Int32);
            Entered = Make(nameof(Edges.Entered), module.TypeSystem.Void, module.TypeSystem.Object);
            Exits = Make(nameof(Edges.Exits), module.TypeSystem.Void, module.TypeSystem.Object);
        }

        public MethodReference Publishes { get; }

        public MethodReference Sees { get; }

        public MethodReference Entered { get; }

        public MethodReference Exits { get; }

        /// <summary>What stands in the place of a call of the scheduler's monitor.</summary>
        public MethodReference Of(MethodReference monitor) => Make(monitor.Name, monitor.ReturnType, [.. monitor.Parameters.Select(static parameter => parameter.ParameterType)]);

        public bool IsOne(Instruction at) => at.OpCode == OpCodes.Call && ((MethodReference)at.Operand).DeclaringType.FullName == _edges.FullName;

        public bool IsFitted(Instruction call) => (call.Next is { } next && IsOne(next)) || (call.Next?.Next is { } second && IsOne(second)) || (call.Previous is { } before && IsOne(before));

        private MethodReference Make(string name, TypeReference result, params TypeReference[] parameters)
        {
            var method = new MethodReference(name, result, _edges);
            foreach (TypeReference parameter in parameters) method.Parameters.Add(new(parameter));
            return method;
        }
    }
}
